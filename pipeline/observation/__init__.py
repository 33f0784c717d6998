"""Reads the root of a run: decisions, freshness, metrics, lineage, run summaries.

Code that only reads a root belongs here. May import the top level of `pipeline`, but not
`dag` or `driver`.
"""
