"""Writes a first deployment for a table: `rankdistill init`. Guesses roles from a sample; every file is text.

Imports `eventlog` and the settings; imports neither TensorFlow nor TFX.
"""
