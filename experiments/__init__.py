"""Experiments on model quality: the paper's tables, live experiments, advice and reports.

May import `pipeline` and everything below it.
"""
