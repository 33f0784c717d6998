"""Impressions that lie in a BigQuery table: read span by span, or joined there with their labels.

May import `transforms` and `label_store`; no TFX.
"""
