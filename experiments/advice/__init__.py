"""Advice: which teacher size, tasks, strategy and weight to use, or that there is no evidence for any.

May import `report`, `protocol`, `statistics` and `trials`; neither `online` nor `tables`.
"""
