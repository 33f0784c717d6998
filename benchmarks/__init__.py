"""Benchmarks of speed, memory and advice; each module prints its results: a line with `BENCH` and JSON."""
