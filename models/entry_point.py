"""The training function that TFX's Trainer is given.

TFX reloads this module before each training, so it holds no state: `models.training` keeps what a process has traced.
Importing it does not import TensorFlow Recommenders, which refuses a process that has already loaded Keras 3, as the
`tfx` command has when it compiles a pipeline.
"""

from typing import Any


def run_fn(fn_args: Any) -> None:
    """Calls `models.training.run_fn`."""
    from models import training

    training.run_fn(fn_args)
