"""A machine that runs the PTX of Triton's kernels on CPU tensors (see docs/ptx.md)."""
