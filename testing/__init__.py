"""Local servers for tests and benchmarks: BigQuery and an object store.

The wheel lacks this package. It may import `components`, `pipeline` and every package that these import.
"""
