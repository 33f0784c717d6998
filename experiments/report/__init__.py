"""One self-contained page for an experiment or a run: it opens offline, on a phone, and prints."""
