"""SpanState: copies the artifacts that a span needs from earlier spans.

TFX Resolvers do not run on open-source Kubeflow Pipelines v2, so SpanState replaces them on all platforms. It
copies the artifacts into its outputs, because KFP refuses URIs outside the pipeline root. If no earlier span
has recorded a slot, its output is the empty marker. TFX must never cache this component: a later run
may read newer records.
"""

import functools
import os
from collections.abc import Mapping
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.utils import io_utils

from components.artifacts import IntOrPlaceholder, Predictions, SoftLabels
from components.span_records import newest_before
from models.state import EMPTY_MARKER

SLOT_TYPES: Mapping[str, type[types.Artifact]] = {
    "transform_graph": standard_artifacts.TransformGraph,
    "fitted_statistics": standard_artifacts.ExampleStatistics,
    "statistics": standard_artifacts.ExampleStatistics,
    "teacher": standard_artifacts.Model,
    "student": standard_artifacts.Model,
    "control": standard_artifacts.Model,
    "predictions": Predictions,
    "labels": SoftLabels,
}
"""Slot of a span record → artifact type."""


class SpanStateExecutor(base_executor.BaseExecutor):
    """Copies the newest recorded artifact of each slot, or writes the empty marker."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the base class."""
        for slot, artifacts in output_dict.items():
            artifact = artifact_utils.get_single_instance(artifacts)
            source = newest_before(
                exec_properties["records_folder"], exec_properties["branch"], exec_properties["span"], slot
            )
            if source is None:
                io_utils.write_string_file(os.path.join(artifact.uri, EMPTY_MARKER), "")
            else:
                io_utils.copy_dir(source, artifact.uri)
            artifact.set_string_custom_property("source", source or "")
            if slot in ("statistics", "fitted_statistics"):
                artifact.split_names = artifact_utils.encode_split_names(_split_names(artifact.uri))


def _split_names(uri: str) -> list[str]:
    return sorted(
        str(name)[len("Split-") :] for name in fileio.listdir(uri) if str(name).startswith("Split-")
    )


class SpanState(base_component.BaseComponent):
    """Copies the newest artifacts of a branch's earlier spans; one output channel per slot."""

    SPEC_CLASS = ComponentSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(SpanStateExecutor)

    def __init__(self, records_folder: str, branch: str, span: IntOrPlaceholder, slots: tuple[str, ...]):
        """Builds the component.

        Args:
            records_folder: Folder of the span records, see `components.span_records`.
            branch: The branch whose records are read. A slot without a record there comes from a burn-in.
            span: The span to run; only records of earlier spans are read.
            slots: Keys of SLOT_TYPES.
        """
        outputs = {slot: types.Channel(type=SLOT_TYPES[slot]) for slot in slots}
        spec = _spec_class(slots)(records_folder=records_folder, branch=branch, span=span, **outputs)
        super().__init__(spec=spec)


@functools.cache
def _spec_class(slots: tuple[str, ...]) -> type[ComponentSpec]:
    """Returns a spec class with one output per slot, because TFX reads the outputs from the class."""
    body = {
        "PARAMETERS": {
            "records_folder": ExecutionParameter(type=str),
            "branch": ExecutionParameter(type=str),
            "span": ExecutionParameter(type=int),
        },
        "INPUTS": {},
        "OUTPUTS": {slot: ChannelParameter(type=SLOT_TYPES[slot]) for slot in slots},
    }
    return type("SpanStateSpec", (ComponentSpec,), body)
