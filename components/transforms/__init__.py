"""Beam transforms that read and write shards, and the Arrow code of these transforms.

May import `label_store`, `evaluation`, `models` and `eventlog`; no TFX.
"""
