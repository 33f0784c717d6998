"""A deployment's configuration, its TFX pipelines, and the loop that runs them over spans.

The top level contains configuration, cluster settings, paths, errors, logging set-up and `local_runner.py`,
the file for `tfx pipeline create`. May import `components`, `models` and `eventlog`.
"""
