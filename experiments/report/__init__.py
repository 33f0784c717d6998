"""Results as files and as self-contained HTML pages: of an experiment, and of a run.

May import `protocol`, `statistics` and `trials`.
"""
