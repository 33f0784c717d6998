"""Label store in a Delta Lake table. It is the default and needs no server.

May import the top level of `label_store`, but not `schemes` or another backend.
"""
