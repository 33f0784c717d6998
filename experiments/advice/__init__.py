"""Advice: which teacher, tasks, strategy and weight to use, or that there is no evidence.

May import `tables`, `protocol`, `statistics` and `trials`; not `online`.
"""
