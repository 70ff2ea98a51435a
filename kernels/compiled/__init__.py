"""Code that the ops of `compiled` share: torch.compile as the kernels need it, the noise of a tile, and which networks to unroll."""
