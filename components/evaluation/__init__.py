"""Figures of models: metrics on arrays, intervals by resampling clusters, the two judgements of a model."""
