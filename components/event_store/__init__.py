"""Reads impressions from a BigQuery table span by span, or joins them with labels inside BigQuery.

May import `transforms`, `label_store`, `models` and `eventlog`; no TFX.
"""
