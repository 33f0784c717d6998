"""History features of any event log: past counts and label means of entities, and their last items.

The totals of past spans are files under the run's root, computed from the log alone. No module here
imports Beam or TFX.
"""
