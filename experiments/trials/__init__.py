"""Trials: each trains one model over the spans of a stream; worker processes run them and keep the results.

May import no other package of `experiments`.
"""
