"""Claims about quality: the paper's tables on an event log, live experiments, advice, and their reports.

May import `pipeline` and everything below it.
"""
