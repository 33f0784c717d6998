"""Beam transforms and the shard-wise Arrow work behind them. No TFX."""
