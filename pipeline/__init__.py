"""The deployment: its configuration, its TFX pipelines, and the loop that runs them over spans.

Top level: configuration, cluster settings, the paths under a root, errors, logging set-up, and
`local_runner.py`, which `tfx pipeline create` is given. Everything else lies in the rooms below. May
import `components`, `models` and `eventlog`.
"""
