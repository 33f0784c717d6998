"""SoftLabelBulkInferrer: the teacher's soft labels of a span, published as one label set."""

import os
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_beam_component, base_beam_executor, executor_spec
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import SoftLabels
from components.evaluation.scoring_rows import has_model
from components.label_store.base import LabelSetKey
from components.label_store.certificate import certify, write_certificate
from components.span_example_gen import READY_MS
from components.transforms.label_shards import label_span, soft_column
from eventlog.errors import BadInput
from models.settings import from_json, to_json
from models.state import STATE_FOLDER, StateRecord, read_record
from models.tasks import Task


class SoftLabelBulkInferrerExecutor(base_beam_executor.BaseBeamExecutor):
    """Labels the span's fresh rows, shard by shard, and publishes them in one commit."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the base class.

        Raises:
            BadInput: if there is no readable teacher, or, under `label_with: previous`, it has trained on
                the span: such a label would leak what the example's own outcome was.
        """
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        teacher = artifact_utils.get_single_instance(input_dict["model"])
        labels = artifact_utils.get_single_instance(output_dict["labels"])
        span = exec_properties["span"]
        record = teacher_record(teacher.uri, span, exec_properties["label_with"])
        tasks = from_json(dict[str, Task], exec_properties["tasks"])
        key = LabelSetKey(
            teacher=exec_properties["teacher"], teacher_version=teacher_version(record), span=span
        )
        labelled = label_span(
            examples_uri=examples.uri,
            model_uri=teacher.uri,
            store_uri=exec_properties["store"],
            key=key,
            columns={name: soft_column(task) for name, task in tasks.items()},
            feature_version=record.feature_version,
            label_age_spans=span - record.spans[-1],
            ready_ms=examples.get_int_custom_property(READY_MS),
            beam_options=self._beam_pipeline_args or [],
            scratch=self._get_tmp_dir(),
        )
        write_certificate(certify(labelled.record, labelled.examples_per_surface), labels.uri)
        labels.set_string_custom_property("label_set", labelled.record.set_id)
        labels.set_string_custom_property("teacher_version", labelled.record.key.teacher_version)
        labels.set_int_custom_property("rows", labelled.record.rows)


def teacher_record(model_uri: str, span: int, label_with: str) -> StateRecord:
    """The training record of a teacher that may label a span.

    Raises:
        BadInput: see `SoftLabelBulkInferrerExecutor.Do`.
    """
    if not has_model(model_uri):
        raise BadInput(
            "no teacher yet", where=f"labels of span {span}", expected="a blessed teacher",
            got="none", fix="Run the bootstrap, and look at its CandidateCheck.",
        )  # fmt: skip
    record = read_record(os.path.join(model_uri, STATE_FOLDER))
    if label_with == "previous" and span in record.spans:
        raise BadInput(
            "the teacher has trained on the span it labels", where=f"labels of span {span}",
            expected="a teacher of earlier spans (label_with: previous)",
            got=f"one trained on {record.spans}",
            fix="Label with the previous teacher, or choose label_with: current.",
        )  # fmt: skip
    return record


def teacher_version(record: StateRecord) -> str:
    """Names a teacher's weights: its generation (the feature graph) and the last span it learnt."""
    return f"{record.feature_version}-{record.spans[-1]:05d}"


class SoftLabelBulkInferrerSpec(ComponentSpec):
    """See `SoftLabelBulkInferrer`."""

    PARAMETERS = {
        "store": ExecutionParameter(type=str),
        "teacher": ExecutionParameter(type=str),
        "span": ExecutionParameter(type=int),
        "tasks": ExecutionParameter(type=str),
        "label_with": ExecutionParameter(type=str),
    }
    INPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "model": ChannelParameter(type=standard_artifacts.Model),
    }
    OUTPUTS = {"labels": ChannelParameter(type=SoftLabels)}


class SoftLabelBulkInferrer(base_beam_component.BaseBeamComponent):
    """Labels a span for every student at once.

    Reference: Khani et al., RecSys '24.
    """

    SPEC_CLASS = SoftLabelBulkInferrerSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(SoftLabelBulkInferrerExecutor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        store: str,
        teacher: str,
        span: int,
        tasks: dict[str, Task],
        label_with: str,
    ):
        """Makes the component.

        Args:
            examples: Channel of the span's Examples; `train` and `holdout` are labelled.
            model: Channel of the teacher's Model.
            store: URI of the label store.
            teacher: The teacher's name, part of the set's key.
            span: The span.
            tasks: The teacher's tasks by name; each becomes a `soft_<task>` column.
            label_with: `previous` refuses a teacher that has trained on the span.
        """
        spec = SoftLabelBulkInferrerSpec(
            examples=examples,
            model=model,
            store=store,
            teacher=teacher,
            span=span,
            tasks=to_json(tasks),
            label_with=label_with,
            labels=types.Channel(type=SoftLabels),
        )
        super().__init__(spec=spec)
