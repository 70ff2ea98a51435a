"""What several Triton kernels share, as functions that run on the device."""
