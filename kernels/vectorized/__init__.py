"""Shared by the ops on `vectorized`: tiles of time and samples, and the functions of a tile, in plain torch."""
