"""SpanPublisher: the last step of a span in a branch; writes the span record that later spans read."""

import functools
import uuid
from collections.abc import Mapping
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.utils import io_utils

from components.artifacts import IntOrPlaceholder
from components.span_records import SpanRecord, read_record, recorded_spans, write_record


class SpanPublisherExecutor(base_executor.BaseExecutor):
    """Writes the span record: the URI of each slot's input artifact, or of its copy."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the base class."""
        slots = {slot: artifact_utils.get_single_uri(artifacts) for slot, artifacts in input_dict.items()}
        branch, span, version = (exec_properties[name] for name in ("branch", "span", "version"))
        records_folder, copies_folder = exec_properties["records_folder"], exec_properties["copies_folder"]
        if copies_folder:
            if _is_recorded(records_folder, branch, span, version):
                # Keep the record that an earlier attempt wrote: later spans may have read it.
                return
            folder = f"{copies_folder}/{branch}/span-{span:05d}-v{version}-{uuid.uuid4().hex}"
            slots = {slot: _copy(uri, f"{folder}/{slot}") for slot, uri in slots.items()}
        write_record(records_folder, branch, SpanRecord(span=span, version=version, slots=slots))


def _is_recorded(records_folder: str, branch: str, span: int, version: int) -> bool:
    return (
        span in recorded_spans(records_folder, branch)
        and read_record(records_folder, branch, span).version == version
    )


def _copy(source: str, target: str) -> str:
    io_utils.copy_dir(source, target)
    return target


class SpanPublisher(base_component.BaseComponent):
    """Writes the record of a finished span; all other steps of the span must be upstream."""

    SPEC_CLASS = ComponentSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(SpanPublisherExecutor)

    def __init__(
        self,
        records_folder: str,
        branch: str,
        span: IntOrPlaceholder,
        slots: Mapping[str, types.BaseChannel],
        version: IntOrPlaceholder = 0,
        copies_folder: str = "",
    ):
        """Builds the component.

        Args:
            records_folder: Folder of the span records, see `components.span_records`.
            branch: The branch that the record belongs to.
            span: The finished span.
            slots: The channel to record in each slot.
            version: The span version.
            copies_folder: Folder for copies of the artifacts; the record then has the URIs of the copies.
                Empty: no copies, and the record has the URIs of the artifacts.
        """
        spec = _spec_class(**{slot: channel.type for slot, channel in slots.items()})(
            records_folder=records_folder,
            copies_folder=copies_folder,
            branch=branch,
            span=span,
            version=version,
            **slots,
        )
        super().__init__(spec=spec)


@functools.cache
def _spec_class(**slots: type[types.Artifact]) -> type[ComponentSpec]:
    """Returns a spec class with one input per slot, because TFX reads the inputs from the class."""
    body = {
        "PARAMETERS": {
            "records_folder": ExecutionParameter(type=str),
            "copies_folder": ExecutionParameter(type=str),
            "branch": ExecutionParameter(type=str),
            "span": ExecutionParameter(type=int),
            "version": ExecutionParameter(type=int),
        },
        "INPUTS": {slot: ChannelParameter(type=artifact) for slot, artifact in slots.items()},
        "OUTPUTS": {},
    }
    return type("SpanPublisherSpec", (ComponentSpec,), body)
