"""Impressions in a BigQuery table: reads them span by span, or joins them with labels inside BigQuery.

May import `transforms` and `label_store`; no TFX.
"""
