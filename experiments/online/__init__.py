"""Live experiments: simulated, or replayed on random exposures.

May import `report`, `protocol`, `statistics` and `trials`; neither `advice` nor `tables`.
"""
