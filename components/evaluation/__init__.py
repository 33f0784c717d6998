"""Metrics, intervals, verdicts (candidate check, push gate) and report pages, computed from arrays.

May import the settings of `models`, and `eventlog`; no TFX, no other package of `components`.
"""
