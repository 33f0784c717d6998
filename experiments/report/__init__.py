"""Results of an experiment or a run as files and as self-contained HTML pages.

May import `protocol`, `statistics` and `trials`.
"""
