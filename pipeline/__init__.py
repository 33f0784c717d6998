"""Wiring: one configuration into TFX pipelines, and the run over spans."""
