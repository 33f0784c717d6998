"""Reads the root of a run: decisions, freshness, metrics, lineage, run summaries.

Belongs here: code that reads a root without changing it. May import the top level of `pipeline`, but not
`dag` or `driver`.
"""
