"""Base class of this project's Beam executors: TFX's class, but it does not package TFX for the workers."""

from typing import Any

from tfx.dsl.components.base import base_beam_executor


class BeamExecutor(base_beam_executor.BaseBeamExecutor):
    """Passes the Beam options to Beam unchanged.

    TFX's executor builds a source distribution of TFX for every instance. That takes seconds and is not
    needed: workers in this process have TFX. Other workers need TFX and this project's packages. The Beam
    options name an image or a setup file with both.
    """

    def __init__(self, context: Any = None) -> None:
        super().__init__(None)
        self._context = context
        self._beam_pipeline_args = list(context.beam_pipeline_args or []) if context else []
        self._make_beam_pipeline_fn = context.make_beam_pipeline_fn if context else None
