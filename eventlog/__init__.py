"""The event log: spans of impressions in Parquet files, the checks of a span, and the sources of a log.

Imports no other package of this project, and no TensorFlow, Beam or TFX.
"""
