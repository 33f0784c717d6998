"""Reads tables of any tool in DuckDB: their files, the mapping of their columns, and expressions over them.

Imports only the column names and the errors of event logs; `eventlog.importing` writes the log.
"""
