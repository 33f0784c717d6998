"""Entry point of TFX's Trainer.

TFX reloads this module before each training. `models.training`, which caches traced graphs, is not reloaded.
`run_fn` imports `models.training` only when it is called. Otherwise the command `tfx` could not compile a
pipeline: it has loaded Keras 3, and `models.training` imports TensorFlow Recommenders, which refuses Keras 3.
"""

from typing import Any


def run_fn(fn_args: Any) -> None:
    """Calls `models.training.run_fn`."""
    from models import training

    training.run_fn(fn_args)
