"""The label store in a Delta Lake table: the embedded default.

May import the top level of `label_store`, but not `schemes` or another backend.
"""
