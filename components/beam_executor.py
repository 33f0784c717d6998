"""Base class of this project's Beam executors: TFX's class, but it does not package TFX for the workers."""

from typing import Any

from tfx.dsl.components.base import base_beam_executor


class BeamExecutor(base_beam_executor.BaseBeamExecutor):
    """Passes the Beam options to Beam unchanged.

    TFX's executor builds a source distribution of TFX for every instance. That takes seconds and is not
    needed, because workers in this process have TFX. Other workers get TFX from their image or setup file.
    `with_worker_package` adds this project's code to the Beam options if they name neither.
    """

    def __init__(self, context: Any = None) -> None:
        super().__init__(None)
        self._context = context
        self._beam_pipeline_args = list(context.beam_pipeline_args or []) if context else []
        self._make_beam_pipeline_fn = context.make_beam_pipeline_fn if context else None
