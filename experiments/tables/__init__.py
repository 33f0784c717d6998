"""The paper's tables, a module a table, and what runs one of them from its event log to its results.

May import `report`, `protocol`, `statistics` and `trials`.
"""
