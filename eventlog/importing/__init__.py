"""Imports a table of any tool as an event log, by a mapping that says what its columns mean."""
