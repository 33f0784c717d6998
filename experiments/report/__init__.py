"""Results of an experiment as files and as a self-contained HTML page.

May import `protocol`, `statistics` and `trials`.
"""
