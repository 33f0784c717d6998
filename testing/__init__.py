"""Servers that tests and benchmarks start on this machine: BigQuery and an object store.

Not in the wheel. May import `components`, `pipeline` and everything below them.
"""
