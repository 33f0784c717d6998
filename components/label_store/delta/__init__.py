"""Label store in a Delta Lake table; the default, which needs no server.

May import the top level of `label_store`, but not `schemes` or another backend.
"""
