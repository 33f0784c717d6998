"""Label store: one interface for label sets and pins, a package for each backend, and `open_store`.

May import the settings of `models`, and `eventlog`; no TensorFlow, Beam or TFX.
"""
