"""What the `tfx` command loads: one due span for its local engine, the fleet's pipeline for Vertex AI.

May import all of `pipeline` but `commands`.
"""
