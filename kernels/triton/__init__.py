"""Shared by the ops on `triton`: functions that run on the device, and how kernels are launched."""
