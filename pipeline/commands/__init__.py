"""The command line of the pipeline, a module a group of commands; `rankdistill` mounts them.

Belongs here: options, and what a command prints. The work is done by the rooms below. May import all of
`pipeline` but `tfx_cli`. TensorFlow, TFX and Beam are imported inside a command's body, so that `--help`
answers at once.
"""
