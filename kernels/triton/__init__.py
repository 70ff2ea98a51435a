"""What the ops share on `triton`: functions that run on the device, and how kernels are launched."""
