"""The commands of the pipeline, one module per group; `rankdistill` mounts them.

Belongs here: options and printed output. Other packages of `pipeline` do the work; all but `tfx_cli` may be
imported. A command imports TensorFlow, TFX and Beam inside its body, so that `--help` is fast.
"""
