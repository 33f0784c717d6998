"""History features of any event log: past counts and label means of entities, and their last items.

The state lies under the run's root and is computed from the log alone. Arrow and NumPy only: no Beam, no TFX.
"""
