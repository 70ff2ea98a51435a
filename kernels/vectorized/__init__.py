"""Code that the ops of `vectorized` share: tiles of time and samples, and the functions of a tile, in plain torch."""
