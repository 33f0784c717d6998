"""The loop over spans on this machine: finds what to run, runs it, resumes it, and keeps other loops out.

Belongs here: due spans, the runner of a compiled pipeline, the serving loop, the fleet's processes, locks,
signals and progress. May import `dag` and `observation`.
"""
