"""Pipelines for the `tfx` command: the next due span on this machine, all branches on Vertex AI.

May import all of `pipeline` except `commands`.
"""
