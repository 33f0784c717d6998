"""Metrics, intervals, label checks, anomaly kinds, verdicts (candidate check, push gate) and report pages.

May import the settings of `models`, and `eventlog`; no TFX, no other package of `components`.
"""
