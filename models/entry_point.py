"""What TFX's Trainer calls.

TFX reloads the module it is given before each training. In this one nothing lives that a reload would lose:
what a process has traced is kept in `models.training`.
"""

from models.training import run_fn

__all__ = ["run_fn"]
