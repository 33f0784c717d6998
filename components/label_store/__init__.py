"""Label sets and their pins: one interface, a room a backend, and the choice of a backend by URI scheme.

May import `eventlog`; no TensorFlow, Beam or TFX.
"""
