"""SpanPublisher: the last act of a branch's span, which makes its outcome the next span's past."""

from collections.abc import Mapping
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.span_records import SpanRecord, write_record


class SpanPublisherExecutor(base_executor.BaseExecutor):
    """Writes the span's record: slot by slot, the URI of the artifact that came in."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the base class."""
        slots = {slot: artifact_utils.get_single_uri(artifacts) for slot, artifacts in input_dict.items()}
        record = SpanRecord(span=exec_properties["span"], version=exec_properties["version"], slots=slots)
        write_record(exec_properties["records"], exec_properties["branch"], record)


class SpanPublisher(base_component.BaseComponent):
    """Records what later spans will find; everything a span does must lie upstream of it."""

    SPEC_CLASS = ComponentSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(SpanPublisherExecutor)

    def __init__(
        self, records: str, branch: str, span: int, slots: Mapping[str, types.BaseChannel], version: int = 0
    ):
        """Makes the component.

        Args:
            records: Folder of the span records, see `components.span_records`.
            branch: Whose record.
            span: The span that ends here.
            slots: The channel to record in each slot.
            version: Of the span.
        """
        spec = _spec_class(slots)(records=records, branch=branch, span=span, version=version, **slots)
        super().__init__(spec=spec)


def _spec_class(slots: Mapping[str, types.BaseChannel]) -> type[ComponentSpec]:
    """TFX wants a spec's inputs on its class, and ours depend on the branch."""
    body = {
        "PARAMETERS": {
            "records": ExecutionParameter(type=str),
            "branch": ExecutionParameter(type=str),
            "span": ExecutionParameter(type=int),
            "version": ExecutionParameter(type=int),
        },
        "INPUTS": {slot: ChannelParameter(type=channel.type) for slot, channel in slots.items()},
        "OUTPUTS": {},
    }
    return type("SpanPublisherSpec", (ComponentSpec,), body)
