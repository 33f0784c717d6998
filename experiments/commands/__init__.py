"""Commands of the experiments, one module each; `rankdistill` mounts them.

Contains options and printed output. May import all of `experiments`, and the shared options of
`pipeline.commands`.
"""
