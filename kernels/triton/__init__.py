"""Code that the ops of `triton` share: functions that run on the device, and how kernels are launched."""
