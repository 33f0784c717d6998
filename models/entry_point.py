"""Entry point of TFX's Trainer.

TFX reloads this module before each training. `models.training`, which caches traced graphs, is not reloaded.
Importing this module does not import TensorFlow Recommenders, which refuses Keras 3. The `tfx` command has
already loaded Keras 3 when it compiles a pipeline.
"""

from typing import Any


def run_fn(fn_args: Any) -> None:
    """Calls `models.training.run_fn`."""
    from models import training

    training.run_fn(fn_args)
