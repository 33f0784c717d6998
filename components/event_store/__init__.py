"""Reads impressions from a BigQuery table span by span, or joins them with labels inside BigQuery.

May import `transforms` and `label_store`; no TFX.
"""
