"""Shared by the ops on `compiled`: torch.compile as the kernels need it, and what of `vectorized` it compiles."""
