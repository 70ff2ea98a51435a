"""What the ops share on `vectorized`: tiles of time and samples, and the functions of a tile, in plain torch."""
