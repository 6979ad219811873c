"""Benchmarks: the peer and we in one run, quoted as ratios. Run them as `python -m benchmarks.<name>`."""
