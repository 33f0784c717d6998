"""Beam transforms over shards, and their Arrow code.

May import `label_store`, `evaluation`, `models` and `eventlog`; no TFX.
"""
