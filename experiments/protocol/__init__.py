"""The protocol of fair comparisons: settings, arms, equal tuning and the selection criterion.

May import `statistics` and `trials`.
"""
