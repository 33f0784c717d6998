"""Servers that tests and benchmarks start on this machine: BigQuery and an object store."""
