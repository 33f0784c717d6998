"""Benchmarks against stock TFX and against plain loops; each module prints a BENCH line of JSON."""
