"""Benchmarks: speed beside rivals, growth with size, share of the hardware limit. See `python -m benchmarks --help`."""
