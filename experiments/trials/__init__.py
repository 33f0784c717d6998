"""Trials: one model trained over the spans of a stream in memory, and how many are run, shared and resumed.

May import no other room of `experiments`.
"""
