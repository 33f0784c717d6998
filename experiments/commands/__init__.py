"""Commands of the experiments, one module each; `rankdistill` mounts them.

Contains options and what a command prints. May import all of `experiments`, and the shared options of
`pipeline.commands`.
"""
