"""Code that the ops of `compiled` share: torch.compile as the kernels need it, and what all of them compile."""
