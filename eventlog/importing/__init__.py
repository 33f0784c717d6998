"""Writes the spans of an event log from a table, by a mapping that says what the columns mean.

Imports `eventlog.tables`, which reads the table, and the modules for the format of event logs.
"""
