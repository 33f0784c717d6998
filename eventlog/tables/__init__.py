"""Tables of any tool: their files, the mapping of their columns, and expressions over them, in DuckDB.

Imports the columns, names and errors of event logs; `eventlog.importing` writes the log.
"""
