"""Local servers for tests and benchmarks: BigQuery and an object store.

Not in the wheel. May import `components`, `pipeline` and everything below them.
"""
