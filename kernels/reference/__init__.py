"""Code that the ops of `reference` share: the noise stream as the papers write it."""
