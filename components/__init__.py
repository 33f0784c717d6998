"""TFX components, flat and thin: each calls the room below that does its work.

Only this top level imports TFX. May import the rooms below, `models` and `eventlog`.
"""
