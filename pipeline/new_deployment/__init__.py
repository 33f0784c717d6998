"""Writes a first deployment for a table, for `rankdistill init`; guesses the roles of columns from a sample.

Imports only `eventlog`, so neither TensorFlow nor TFX.
"""
