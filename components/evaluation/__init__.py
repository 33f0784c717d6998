"""Figures and judgements of models on arrays: metrics, intervals, candidate check, push gate, report pages.

May import `models` settings and `eventlog`; no TFX, no other room of `components`.
"""
