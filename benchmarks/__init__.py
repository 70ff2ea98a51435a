"""How fast, beside whom, how it grows, how near the limit, and is it the same result? `python -m benchmarks --help`."""
