"""Speed against stock TFX and against the limit; `python -m benchmarks.<name>` ends with a BENCH line."""
