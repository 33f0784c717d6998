"""The TFX pipelines that a deployment becomes: burn-in, teacher, student, and the whole span.

Belongs here: which component follows which, and what each is told. Nothing here runs a pipeline. May import
`components` and the top level of `pipeline`; not `observation`, `driver` or what lies above them.
"""
