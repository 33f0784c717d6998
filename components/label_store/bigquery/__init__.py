"""Soft labels in BigQuery: shards, load jobs and one publishing statement."""
