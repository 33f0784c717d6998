"""The base of our Beam executors: TFX's, without its packing of itself for the workers."""

from typing import Any

from tfx.dsl.components.base import base_beam_executor


class BeamExecutor(base_beam_executor.BaseBeamExecutor):
    """Takes the Beam options as they are.

    TFX's own executor packs the installed TFX as a source distribution each time one is made, which takes
    seconds and is of no use: workers in this process have it, and others need our packages as well, which
    an image or a setup file in the options gives them.
    """

    def __init__(self, context: Any = None) -> None:
        super().__init__(None)
        self._context = context
        self._beam_pipeline_args = list(context.beam_pipeline_args or []) if context else []
        self._make_beam_pipeline_fn = context.make_beam_pipeline_fn if context else None
