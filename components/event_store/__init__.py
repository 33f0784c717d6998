"""Impressions in a BigQuery table: reads them span by span, or joins them with their labels there.

May import `transforms` and `label_store`; no TFX.
"""
