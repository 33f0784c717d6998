"""Label store in BigQuery: staged shards, load jobs, and the statement that publishes a set.

May import the top level of `label_store`, but not `schemes` or another backend.
"""
