"""The commands of the pipeline, one module per group; `rankdistill` mounts them.

Contains options and printed output; other packages do the work. May import all of `pipeline` except
`tfx_cli`. A command imports TensorFlow, TFX and Beam inside its body, so that `--help` is fast.
"""
