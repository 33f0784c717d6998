"""Beam transforms that read and write shards, and the Arrow code of these transforms.

May import `label_store`, `evaluation`, `event_schema`, `models` and `eventlog`; no TFX.
"""
