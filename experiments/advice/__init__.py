"""Advice: which teacher size, tasks, strategy and weight to use, or that there is no evidence for any.

May import `protocol`, `statistics` and `trials`.
"""
