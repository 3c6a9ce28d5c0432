"""Benchmarks: every file here is one, ``python -m experiments bench NAME``; ratios, never seconds alone."""
