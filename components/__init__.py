"""TFX components, and the Beam and Arrow work behind them. Only the top level imports TFX."""
