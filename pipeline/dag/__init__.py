"""The TFX pipelines of a deployment: burn-in, one span of the teacher and of each surface, relabelling.

Belongs here: the wiring of the components and their settings. Nothing here runs a pipeline. May import
`components` and the top level of `pipeline`; not `observation`, `driver` or the layers above them.
"""
