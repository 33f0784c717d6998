"""Figures and verdicts on models, from arrays: metrics, intervals, candidate check, push gate, report pages.

May import `models` settings and `eventlog`; no TFX, no other package of `components`.
"""
