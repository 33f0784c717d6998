"""Base class of this project's Beam executors: TFX's, without the packing of TFX for the workers."""

from typing import Any

from tfx.dsl.components.base import base_beam_executor


class BeamExecutor(base_beam_executor.BaseBeamExecutor):
    """Passes the Beam options on unchanged.

    TFX's own executor packs the installed TFX as a source distribution for every instance. That takes seconds
    and is useless: workers in this process have TFX already. Other workers also need this project's packages;
    an image or a setup file in the options provides both.
    """

    def __init__(self, context: Any = None) -> None:
        super().__init__(None)
        self._context = context
        self._beam_pipeline_args = list(context.beam_pipeline_args or []) if context else []
        self._make_beam_pipeline_fn = context.make_beam_pipeline_fn if context else None
