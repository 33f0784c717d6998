"""Reads the root of a run: decisions, freshness, metrics, lineage, run summaries.

Contains code that reads a root and reports on it. May import the top level of `pipeline`, but not `dag` or
`driver`.
"""
