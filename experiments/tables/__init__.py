"""The paper's tables, one module each, and the function that runs one from an event log to its results.

May import `report`, `protocol`, `statistics` and `trials`.
"""
