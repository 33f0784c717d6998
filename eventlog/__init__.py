"""The impression log: spans of Parquet, and the sources that write them. No TensorFlow, no TFX."""
