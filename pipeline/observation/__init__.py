"""Reads what a run has left: decisions, freshness, metrics, lineage, run summaries.

Belongs here: everything that looks at a root without changing it. May import the top level of `pipeline`;
not `dag` or `driver`.
"""
