"""The command line of the experiments, a module a command; `rankdistill` mounts them.

Belongs here: options, and what a command prints. May import all of `experiments`, and the shared options of
`pipeline.commands`.
"""
