"""The adapter of KuaiRand: its columns, its CSV files, and the event log that it writes.

Imports the format of event logs and the history. The simulator writes the same columns.
"""
