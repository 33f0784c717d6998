"""Impressions that lie in BigQuery: read span by span, or joined there with their labels."""
