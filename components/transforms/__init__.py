"""Beam transforms whose unit of work is a shard, and the Arrow code behind them.

May import `label_store`, `evaluation`, `models` and `eventlog`; no TFX.
"""
