"""One module for each experiment of `rankdistill experiment`; `running` runs one and writes its results.

May import `report`, `protocol`, `statistics` and `trials`.
"""
