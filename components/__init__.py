"""TFX components. The subpackages do their work without TFX.

Only the modules directly in this package import TFX. These modules may import the subpackages, `models` and
`eventlog`.
"""
