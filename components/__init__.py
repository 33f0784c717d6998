"""TFX components. The subpackages do their work without TFX.

Only the modules directly in this package import TFX. They may import the subpackages, `models` and
`eventlog`.
"""
