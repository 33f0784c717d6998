"""TFX components; each calls a package below, which does the work.

Only the modules of this top level import TFX. They may import the packages below, `models` and `eventlog`.
"""
