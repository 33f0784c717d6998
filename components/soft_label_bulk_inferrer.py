"""SoftLabelBulkInferrer: labels a span with the teacher and publishes one label set."""

import json
import logging
import os
from typing import Any

from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import IntOrPlaceholder, SoftLabels
from components.beam_executor import BeamExecutor
from components.evaluation.label_checks import LabelChecks
from components.label_store.base import LabelSetKey
from components.label_store.certificate import certify, write_certificate
from components.label_store.publication import UnfitLabels
from components.output_files import LABEL_ANOMALIES_FILE, LABEL_REFUSAL_FILE, LABEL_STATISTICS_FILE
from components.span_example_gen import READY_MS
from components.transforms.label_shards import label_span
from components.transforms.scoring_rows import has_model
from eventlog.errors import BadInput
from models.settings import from_json, to_json
from models.state import STATE_FOLDER, StateRecord, read_state_record
from models.tasks import Task

_LOG = logging.getLogger(__name__)


class SoftLabelBulkInferrerExecutor(BeamExecutor):
    """Labels the span's fresh rows, shard by shard, and publishes the label set in one commit."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See the base class.

        If the labels fail the checks, none are published. The output then has the reason and no certificate.

        Raises:
            BadInput: if there is no readable teacher. With `label_with: previous`, also if the teacher has
                trained on the span: its labels would leak the hard labels of the examples. See also
                `label_span`.
        """
        examples = artifact_utils.get_single_instance(input_dict["examples"])
        teacher = artifact_utils.get_single_instance(input_dict["model"])
        labels = artifact_utils.get_single_instance(output_dict["labels"])
        span = exec_properties["span"]
        record = teacher_record(teacher.uri, span, exec_properties["label_with"])
        tasks = from_json(dict[str, Task], exec_properties["tasks"])
        key = LabelSetKey(
            teacher=exec_properties["teacher"],
            teacher_version=teacher_version(record),
            span=span,
            span_version=exec_properties["span_version"],
        )
        previous_uri = artifact_utils.get_single_uri(input_dict["previous_labels"])
        try:
            labelled = label_span(
                examples_uri=examples.uri,
                model_uri=teacher.uri,
                store_uri=exec_properties["store"],
                key=key,
                tasks=tasks,
                feature_version=record.feature_version,
                label_age_spans=span - record.spans[-1],
                ready_ms=examples.get_int_custom_property(READY_MS),
                beam_options=self._beam_pipeline_args or [],
                scratch=self._get_tmp_dir(),
                checks=from_json(LabelChecks, exec_properties["checks"]),
                previous=_read_statistics(previous_uri),
                supersede=bool(exec_properties.get("supersede")),
            )
        except UnfitLabels as error:
            _refuse(labels, str(error), previous_uri)
            return
        write_certificate(certify(labelled.record, labelled.examples_per_surface), labels.uri)
        _write(labels.uri, LABEL_ANOMALIES_FILE, json.dumps(labelled.anomalies).encode())
        _write(labels.uri, LABEL_STATISTICS_FILE, labelled.statistics.SerializeToString())
        labels.set_string_custom_property("label_set", labelled.record.set_id)
        labels.set_string_custom_property("teacher_version", labelled.record.key.teacher_version)
        labels.set_int_custom_property("rows", labelled.record.rows)


def _refuse(labels: SoftLabels, reason: str, previous_uri: str) -> None:
    """Writes the reason instead of a certificate, and copies the previous statistics for the next span."""
    _LOG.warning("no labels published: %s", reason)
    _write(labels.uri, LABEL_REFUSAL_FILE, json.dumps({"reason": reason}).encode())
    statistics = os.path.join(previous_uri, LABEL_STATISTICS_FILE)
    if fileio.exists(statistics):
        fileio.copy(statistics, os.path.join(labels.uri, LABEL_STATISTICS_FILE), overwrite=True)
    labels.set_string_custom_property("refused", reason)


def _write(folder: str, name: str, content: bytes) -> None:
    fileio.makedirs(folder)
    with fileio.open(os.path.join(folder, name), "wb") as file:
        file.write(content)


def _read_statistics(uri: str) -> statistics_pb2.DatasetFeatureStatisticsList | None:
    path = os.path.join(uri, LABEL_STATISTICS_FILE)
    if not fileio.exists(path):
        return None
    with fileio.open(path, "rb") as file:
        return statistics_pb2.DatasetFeatureStatisticsList.FromString(file.read())


def teacher_record(model_uri: str, span: int, label_with: str) -> StateRecord:
    """Reads the record of the teacher's training state, and checks that the teacher may label the span.

    Raises:
        BadInput: see `SoftLabelBulkInferrerExecutor.Do`.
    """
    if not has_model(model_uri):
        raise BadInput(
            "no teacher yet", where=f"labels of span {span}", expected="a blessed teacher",
            got="none", fix="Run the burn-in, and read the verdict of its CandidateCheck.",
        )  # fmt: skip
    record = read_state_record(os.path.join(model_uri, STATE_FOLDER))
    if label_with == "previous" and span in record.spans:
        raise BadInput(
            "the teacher has trained on the span it labels", where=f"labels of span {span}",
            expected="a teacher of earlier spans (label_with: previous)",
            got=f"one trained on {record.spans}",
            fix="Label with the previous teacher, or set label_with: current.",
        )  # fmt: skip
    return record


def teacher_version(record: StateRecord) -> str:
    """Returns the version of a teacher: its feature version and the last span on which it has trained."""
    return f"{record.feature_version}-{record.spans[-1]:05d}"


class SoftLabelBulkInferrerSpec(ComponentSpec):
    """See `SoftLabelBulkInferrer`."""

    PARAMETERS = {
        "store": ExecutionParameter(type=str),
        "teacher": ExecutionParameter(type=str),
        "span": ExecutionParameter(type=int),
        "span_version": ExecutionParameter(type=int),
        "checks": ExecutionParameter(type=str),
        "tasks": ExecutionParameter(type=str),
        "label_with": ExecutionParameter(type=str),
        "supersede": ExecutionParameter(type=int, optional=True),
    }
    INPUTS = {
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "model": ChannelParameter(type=standard_artifacts.Model),
        "previous_labels": ChannelParameter(type=SoftLabels),
    }
    OUTPUTS = {"labels": ChannelParameter(type=SoftLabels)}


class SoftLabelBulkInferrer(base_beam_component.BaseBeamComponent):
    """Labels a span once, for all students.

    Reference: Khani et al., RecSys '24.
    """

    SPEC_CLASS = SoftLabelBulkInferrerSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(SoftLabelBulkInferrerExecutor)

    def __init__(
        self,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        previous_labels: types.BaseChannel,
        store: str,
        teacher: str,
        span: IntOrPlaceholder,
        span_version: IntOrPlaceholder,
        tasks: dict[str, Task],
        label_with: str,
        checks: LabelChecks,
        supersede: bool = False,
    ):
        """Builds the component.

        Args:
            examples: Channel of the span's Examples; `train` and `holdout` are labelled.
            model: Channel of the teacher's Model.
            previous_labels: Channel of the previous span's SoftLabels, or of the empty marker.
            store: URI of the label store.
            teacher: The teacher's name, a part of the label set's key.
            span: The span to label.
            span_version: The span version.
            tasks: Name → task of the teacher; each task becomes a `soft_<task>` column.
            label_with: `previous` refuses a teacher that has trained on the span; `current` does not.
            checks: Limits beyond which labels are anomalies, and whether such labels are published.
            supersede: Publish a new revision even if the key has a published set; the old revision stays
                readable.
        """
        spec = SoftLabelBulkInferrerSpec(
            examples=examples,
            model=model,
            previous_labels=previous_labels,
            store=store,
            teacher=teacher,
            span=span,
            span_version=span_version,
            checks=to_json(checks),
            tasks=to_json(tasks),
            label_with=label_with,
            supersede=int(supersede) or None,
            labels=types.Channel(type=SoftLabels),
        )
        super().__init__(spec=spec)
