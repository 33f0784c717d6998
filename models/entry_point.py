"""Entry point of TFX's Trainer.

TFX reloads this module before each training. `models.training`, which caches traced graphs, is not reloaded.
"""

from models.training import run_fn

__all__ = ["run_fn"]
