"""The event log: impressions in, spans of Parquet out.

Belongs here: the format, its checks, and the sources that write it. Imports no other package of this
project, and no TensorFlow, Beam or TFX.
"""
