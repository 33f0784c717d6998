"""SpanState: the one component that hands a span what it needs from earlier ones.

TFX Resolvers do not run on open-source Kubeflow Pipelines v2, and two mechanisms would drift apart. It
copies into its own outputs, since KFP refuses URIs outside the pipeline root; an output that nothing has
been published for holds the marker file alone. It must never be cached: the same span may find more.
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

from components.artifacts import Found, Predictions, SoftLabels
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
"""Everything that can travel from span to span, and the type it travels as."""


class SpanStateExecutor(base_executor.BaseExecutor):
    """Copies the newest published artifact of each slot, or leaves the marker."""

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
                exec_properties["records"], exec_properties["branch"], exec_properties["span"], slot
            )
            if source is None:
                io_utils.write_string_file(os.path.join(artifact.uri, EMPTY_MARKER), "")
            else:
                io_utils.copy_dir(source, artifact.uri)
            artifact.set_string_custom_property("source", source or "")
            if slot in ("statistics", "fitted_statistics"):
                artifact.split_names = artifact_utils.encode_split_names(_splits(artifact.uri))


def _splits(uri: str) -> list[str]:
    return sorted(
        str(name)[len("Split-") :] for name in fileio.listdir(uri) if str(name).startswith("Split-")
    )


class SpanState(base_component.BaseComponent):
    """What span `span` of a branch finds of earlier spans: one output channel per slot."""

    SPEC_CLASS = ComponentSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(SpanStateExecutor)

    def __init__(self, records: str, branch: str, span: Found, slots: tuple[str, ...]):
        """Makes the component.

        Args:
            records: Folder of the span records, see `components.span_records`.
            branch: Whose earlier spans count; the bootstrap's stand in where the branch has none yet.
            span: Only spans before this one are looked at.
            slots: Names among SLOT_TYPES.
        """
        outputs = {slot: types.Channel(type=SLOT_TYPES[slot]) for slot in slots}
        spec = _spec_class(slots)(records=records, branch=branch, span=span, **outputs)
        super().__init__(spec=spec)


@functools.cache
def _spec_class(slots: tuple[str, ...]) -> type[ComponentSpec]:
    """TFX wants a spec's outputs on its class, and ours depend on the branch; one class for all its spans."""
    body = {
        "PARAMETERS": {
            "records": ExecutionParameter(type=str),
            "branch": ExecutionParameter(type=str),
            "span": ExecutionParameter(type=int),
        },
        "INPUTS": {},
        "OUTPUTS": {slot: ChannelParameter(type=SLOT_TYPES[slot]) for slot in slots},
    }
    return type("SpanStateSpec", (ComponentSpec,), body)
