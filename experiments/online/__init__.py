"""Live experiments: simulated, or replayed on random exposures.

May import `protocol`, `statistics` and `trials`; not `advice`.
"""
