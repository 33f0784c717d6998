"""Trials: each trains one model over the spans of a stream in memory; workers run, cache and resume them.

May import no other room of `experiments`.
"""
