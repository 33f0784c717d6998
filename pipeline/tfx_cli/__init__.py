"""Pipelines for the `tfx` command: runs the next due span here, or compiles all branches for Vertex AI.

May import all of `pipeline` except `commands`.
"""
