"""The loop over spans on this machine: finds due spans, runs and resumes them, allows one loop per root.

Belongs here: due spans, the runner of a compiled pipeline, the serving loop, the fleet's processes, locks,
signals and progress. May import `dag` and `observation`.
"""
