"""Benchmarks of speed, memory and advice; each module prints a BENCH line: its results as JSON."""
