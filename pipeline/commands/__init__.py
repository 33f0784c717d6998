"""The command line of the pipeline, a module a group of commands; `rankdistill` mounts them.

Imports anything in `pipeline/` and below. TensorFlow, TFX and Beam are imported inside a command's body, so
that `--help` answers at once.
"""
