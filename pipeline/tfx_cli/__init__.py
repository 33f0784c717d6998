"""What the `tfx` command runs: the next due span with its local engine, the fleet's pipeline on Vertex AI.

May import all of `pipeline` but `commands`.
"""
