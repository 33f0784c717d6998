"""Soft labels in a Delta Lake table: the embedded default."""
