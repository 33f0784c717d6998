"""Model lineage from MLMD: spans, label sets and teachers of a model; refuses a teacher that leaks labels.

Uses `ml_metadata` without TFX, so that `rankdistill lineage` answers in a second. A lineage is a chain of
artifacts. A Trainer continues from its base model. A CandidateCheck outputs the candidate or its predecessor.
A SpanState copies an artifact of another pipeline run, of this root or of another one.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pydantic
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2

from eventlog.errors import BadInput
from models.job import TrainingJob
from models.settings import from_json
from models.shard_names import SHARD_GLOB, parse_shard_name
from models.state import UNLEARNED_FOLDER, job_hash

METADATA_FILE = "metadata.sqlite"
"""A folder with this file is the root of a run, see `pipeline.paths`."""

_INPUT, _OUTPUT = metadata_store_pb2.Event.INPUT, metadata_store_pb2.Event.OUTPUT
_MODEL_TYPES = ("Model", "PushedModel")


@dataclasses.dataclass(frozen=True)
class Lineage:
    """Lineage of a model. Trainings of discarded candidates are not part of it.

    Attributes:
        uri: URI of the Model artifact; for a pushed version, of the model that was pushed.
        role: `teacher`, `student` or `control`.
        surface: The model's surface; None for all surfaces.
        spans: Every span whose Examples a training read, ascending, burn-in included.
        label_sets: Ids of the label sets joined to these Examples, in order of training; only for a student.
        teachers: `<teacher>.<version>` of the label sets, in the same order.
        transform_graph: URI of the frozen transform graph that Transform wrote.
        schema: URI of the Schema that the graph was fitted with.
        job: Hash of the last training job, see `models.state.job_hash`.
        trainings: Number of Trainer executions that led to the model.
    """

    uri: str
    role: str
    surface: str | None
    spans: tuple[int, ...]
    label_sets: tuple[str, ...]
    teachers: tuple[str, ...]
    transform_graph: str
    schema: str
    job: str
    trainings: int


def model_lineage(store: metadata_store.MetadataStore, uri: str) -> Lineage:
    """Follows MLMD upstream from a model.

    Args:
        store: MLMD of the model's root.
        uri: URI of a Model artifact, or the folder of a pushed version.

    Raises:
        BadInput: if MLMD has no entry for the model or for an artifact upstream of it, if the artifact is not
            a model, or if its training job cannot be read.
    """
    uri = uri.rstrip("/")
    start = _find_output(store, _pushed_artifact(store, uri) or uri)
    if start.artifact.type not in _MODEL_TYPES:
        raise _no_model(uri, f"an artifact of type {start.artifact.type}")
    trainings = _trainings(store, start.artifact.uri)
    if not trainings:
        raise _no_model(uri, "the empty marker, which stands for no model")
    last = trainings[-1]
    job = _job(last)
    joined = job.role == "student"
    examples = [artifact for training in trainings for artifact in training.examples] if joined else []
    set_ids = tuple(dict.fromkeys(set_id for artifact in examples for set_id in _label_sets(artifact)))
    graph = _original(last.model.store, last.model.inputs["transform_graph"].uri)
    return Lineage(
        uri=start.inputs["model"].uri if start.kind == "Pusher" else start.artifact.uri,
        role=job.role,
        surface=job.surface,
        spans=tuple(sorted(set().union(*(training.spans() for training in trainings)))),
        label_sets=set_ids,
        teachers=tuple(dict.fromkeys(set_id.partition(".span-")[0] for set_id in set_ids)),
        transform_graph=graph.artifact.uri,
        schema=graph.inputs["schema"].uri,
        job=job_hash(job),
        trainings=len(trainings),
    )


def refuse_leaking_teacher(store: metadata_store.MetadataStore, model_uri: str, span: int) -> None:
    """Raises if the teacher trained on the span. Uses MLMD lineage, not the model's own metadata.

    Args:
        store: MLMD of the run.
        model_uri: URI of the Model artifact that labels the span; the empty marker passes.
        span: The span to label.

    Raises:
        BadInput: if a training that led to the model read the span, or if MLMD lacks a part of the lineage.
    """
    for training in _trainings(store, model_uri):
        if span in training.spans():
            raise BadInput(
                "the teacher has trained on the span it is to label", where=f"labels of span {span}",
                expected="a teacher without the span in its MLMD lineage (label_with: previous)",
                got=f"{model_uri}, for which Trainer execution {training.execution_id} read span {span}",
                fix="Restore ROOT/records/teacher, which names the model, or set label_with: current.",
            )  # fmt: skip


def labelling_model(store: metadata_store.MetadataStore, run_id: str) -> str | None:
    """URI of the teacher that SpanState passes to the labelling step of a pipeline run.

    Args:
        store: MLMD of the run.
        run_id: Id of the pipeline run.

    Returns:
        The URI of the model or of the empty marker; None if SpanState has output no teacher in that run.
    """
    run = store.get_context_by_type_and_name("pipeline_run", run_id)
    for execution in store.get_executions_by_context(run.id) if run else []:
        outputs = _artifacts(store, execution, _OUTPUT) if _kind(execution) == "SpanState" else {}
        if "teacher" in outputs:
            return str(outputs["teacher"].uri)
    return None


def find_root(path: str | Path) -> Path | None:
    """The root of the run that contains `path`: its nearest folder with an MLMD store, or None."""
    folders = (Path(path), *Path(path).parents)
    return next((folder for folder in folders if (folder / METADATA_FILE).is_file()), None)


def open_metadata(root: Path) -> metadata_store.MetadataStore:
    """Opens the MLMD of a root read-only, so that a running loop is not disturbed.

    Raises:
        BadInput: if the file does not exist or is not readable.
    """
    file = root / METADATA_FILE
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(file)
    config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
    try:
        return metadata_store.MetadataStore(config)
    except RuntimeError as error:
        raise BadInput(
            "no readable MLMD", where=str(file), expected="the metadata of a run",
            got=str(error).partition(" query:  ")[0] if file.exists() else "no such file",
            fix="Pass the folder that was the --root of `rankdistill run`.",
        ) from error  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Output:
    """An artifact, the execution that wrote it, the inputs of this execution, and their store."""

    store: metadata_store.MetadataStore
    artifact: metadata_store_pb2.Artifact
    execution: metadata_store_pb2.Execution
    inputs: dict[str, metadata_store_pb2.Artifact]

    @property
    def kind(self) -> str:
        return _kind(self.execution)

    @property
    def source(self) -> str:
        """URI of the artifact that a SpanState copied; empty if there was none."""
        return str(self.artifact.custom_properties["source"].string_value)

    @property
    def is_predecessor(self) -> bool:
        """Whether this is a copy of a good model with one more deferred span."""
        if self.kind != "CandidateCheck":
            return self.kind == "TrainingDeferral"
        blessing = _artifacts(self.store, self.execution, _OUTPUT)["blessing"]
        return not blessing.custom_properties["blessed"].int_value


@dataclasses.dataclass(frozen=True)
class _Training:
    """One execution of a Trainer.

    Attributes:
        model: The trained model.
        deferred: Deferred spans of its base model.
        examples: The Examples that it read: those of deferred spans, as far as MLMD has them, then its input.
    """

    model: _Output
    deferred: set[int]
    examples: list[metadata_store_pb2.Artifact]

    @property
    def execution_id(self) -> int:
        return int(self.model.execution.id)

    def spans(self) -> set[int]:
        return self.deferred.union(*(_spans(self.model.store, artifact) for artifact in self.examples))


def _trainings(store: metadata_store.MetadataStore, uri: str) -> list[_Training]:
    """The trainings that led to a model, oldest first."""
    trainings: list[_Training] = []
    while uri:
        output = _find_output(store, uri)
        if output.kind == "Trainer":
            deferred_spans = _deferred_spans(_upstream(output))
            trainings.append(_Training(output, deferred_spans, [output.inputs["examples"]]))
        elif trainings and output.is_predecessor:
            # MLMD does not record whether the next training read the deferred span; its shards show it.
            deferred = output.inputs["examples"]
            if _spans(output.store, deferred) <= trainings[-1].deferred:
                trainings[-1].examples.insert(0, deferred)
        store, uri = output.store, _upstream(output)
    return trainings[::-1]


def _upstream(output: _Output) -> str:
    """URI of the model from which a model continues; empty if there is none."""
    if output.kind == "SpanState":
        return output.source
    keys = {
        "Trainer": "base_model",
        "CandidateCheck": "predecessor" if output.is_predecessor else "candidate",
        "TrainingDeferral": "model",
        "Pusher": "model",
    }
    if output.kind not in keys:
        raise _no_model(output.artifact.uri, f"an output of {output.kind}")
    base = output.inputs.get(keys[output.kind])
    return str(base.uri) if base else ""


def _find_output(store: metadata_store.MetadataStore, uri: str) -> _Output:
    """Finds an artifact in `store`, or else in the MLMD of the root that contains it.

    Surfaces that run apart from their teacher use the transform graph of the teacher's root.
    """
    output = _lookup(store, uri)
    if output is None and (root := find_root(uri)) is not None:
        output = _lookup(open_metadata(root), uri)
    if output is None:
        raise BadInput(
            "not in MLMD", where=uri, expected="an artifact that a finished step of a run wrote",
            got="no such artifact in the metadata of this root or of the artifact's root",
            fix="Pass the original path of a folder under ROOT/artifacts or ROOT/serving.",
        )  # fmt: skip
    return output


def _lookup(store: metadata_store.MetadataStore, uri: str) -> _Output | None:
    for artifact in store.get_artifacts_by_uri(uri):
        for event in store.get_events_by_artifact_ids([artifact.id]):
            # A failed or killed execution leaves a pending output.
            if event.type == _OUTPUT:
                (execution,) = store.get_executions_by_id([event.execution_id])
                return _Output(store, artifact, execution, _artifacts(store, execution, _INPUT))
    return None


def _pushed_artifact(store: metadata_store.MetadataStore, folder: str) -> str | None:
    """URI of the PushedModel artifact that was pushed to `folder`; None if there is none."""
    for artifact in store.get_artifacts_by_type("PushedModel"):
        if artifact.custom_properties["pushed_destination"].string_value == folder:
            return str(artifact.uri)
    return None


def _original(store: metadata_store.MetadataStore, uri: str) -> _Output:
    """The artifact that SpanState copied from span to span."""
    output = _find_output(store, uri)
    while output.kind == "SpanState":
        output = _find_output(output.store, output.source)
    return output


def _spans(store: metadata_store.MetadataStore, examples: metadata_store_pb2.Artifact) -> set[int]:
    properties = _find_output(store, examples.uri).execution.custom_properties
    if "first_span" in properties:
        return set(range(properties["first_span"].int_value, properties["last_span"].int_value + 1))
    return {examples.properties["span"].int_value}


def _deferred_spans(model_uri: str) -> set[int]:
    """Deferred spans of a model, from the shards in its folder."""
    shards = Path(model_uri, UNLEARNED_FOLDER, "Split-train").glob(SHARD_GLOB) if model_uri else ()
    return {parse_shard_name(shard.name).span for shard in shards}


def _label_sets(examples: metadata_store_pb2.Artifact) -> list[str]:
    return list(json.loads(examples.custom_properties["label_sets"].string_value))


def _job(training: _Training) -> TrainingJob:
    execution = training.model.execution
    try:
        config = json.loads(execution.custom_properties["custom_config"].string_value)
        return from_json(TrainingJob, config["job"])
    except pydantic.ValidationError as error:
        raise BadInput(
            "the training job cannot be read", where=f"Trainer execution {training.execution_id}",
            expected="a job of this version of rankdistill", got=str(error.errors()[0]["msg"]),
            fix="Use the version of rankdistill that trained the model.",
        ) from error  # fmt: skip


def _artifacts(
    store: metadata_store.MetadataStore, execution: metadata_store_pb2.Execution, kind: int
) -> dict[str, metadata_store_pb2.Artifact]:
    """An execution's input or output artifacts by key."""
    events = [event for event in store.get_events_by_execution_ids([execution.id]) if event.type == kind]
    ids = [event.artifact_id for event in events]
    artifacts = {artifact.id: artifact for artifact in store.get_artifacts_by_id(ids)}
    return {
        step.key: artifacts[event.artifact_id]
        for event in events
        for step in event.path.steps
        if step.HasField("key")
    }


def _kind(execution: metadata_store_pb2.Execution) -> str:
    return str(execution.type.rpartition(".")[2])


def _no_model(uri: str, got: str) -> BadInput:
    return BadInput(
        "not a model", where=uri, expected="a Model artifact or a pushed version of one", got=got,
        fix="Pass a folder such as ROOT/artifacts/CandidateCheck_teacher/good_model/N.",
    )  # fmt: skip
