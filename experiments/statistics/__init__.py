"""Metrics, differences and shares with intervals that resample users and seeds; corrected p-values.

May import `trials`.
"""
