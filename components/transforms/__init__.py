"""Beam transforms whose unit of work is a shard, and the Arrow code that they run.

May import `label_store`, `evaluation`, `models` and `eventlog`; no TFX.
"""
