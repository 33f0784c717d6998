"""Lineage of a model from MLMD, and the guard against labels of a teacher that trained on the labelled span.

Uses `ml_metadata` without TFX, which takes long to import. In MLMD, the history of a model is a chain of
executions. A Trainer continues from its base model. A CandidateCheck outputs the candidate or its
predecessor. A TrainingDeferral copies a model without training. A SpanState copies a model of an earlier
pipeline run, a SurfaceRename one of the same surface under another name.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Sequence
from pathlib import Path

import pydantic
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2

from eventlog.errors import BadInput
from models.job import TrainingJob
from models.settings import from_json
from models.shard_names import SHARD_GLOB, parse_shard_name
from models.state import DEFERRED_FOLDER, RECORD_FILE, STATE_FOLDER, job_hash

METADATA_FILE = "metadata.sqlite"
"""A folder with this file is the root of a run, see `pipeline.paths`."""

_INPUT, _OUTPUT = metadata_store_pb2.Event.INPUT, metadata_store_pb2.Event.OUTPUT
_MODEL_TYPES = ("Model", "PushedModel")


@dataclasses.dataclass(frozen=True)
class Lineage:
    """The history of a model, without the training of discarded candidates.

    Attributes:
        uri: URI of the Model artifact. For a pushed model, the URI of the Model that the Pusher copied.
        role: `teacher`, `student` or `control`.
        surface: The surface of the student or control; None for a teacher.
        spans: Every span that the model has trained on, ascending, including the burn-in. A span without a
            row for the model is left out.
        label_sets: Ids of the joined label sets in the order of training; empty for teacher and control.
        teachers: Each `<teacher>.<version>` that gave these label sets, in the order of training.
        transform_graph: URI of the TransformGraph artifact that Transform wrote, not of a later copy.
        schema: URI of the Schema artifact with which the transform graph was fitted.
        job: Hash of the last training's job, see `models.state.job_hash`.
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
    """Finds the history of a model: follows the artifacts in MLMD back to its first training.

    Args:
        store: The MLMD of the model's root.
        uri: URI of a Model artifact, or the folder of a pushed model.

    Raises:
        BadInput: if MLMD lacks the model or an artifact of its history. Also if the URI is not a model, or
            the training job cannot be read.
    """
    uri = uri.rstrip("/")
    start = _find_product(store, _pushed_artifact(store, uri) or uri)
    if start.artifact.type not in _MODEL_TYPES:
        raise _not_a_model(uri, f"an artifact of type {start.artifact.type}")
    trainings = _trainings(store, start.artifact.uri)
    if not trainings:
        raise _not_a_model(uri, "the empty marker: there is no model yet")
    last = trainings[-1]
    job = _training_job(last)
    spans = _spans_with_rows(trainings)
    sets = _joined_sets(trainings, spans) if job.role == "student" else ()
    transform_graph = _origin(last.model.store, last.model.inputs["transform_graph"].uri)
    return Lineage(
        uri=start.inputs["model"].uri if start.component_type == "Pusher" else start.artifact.uri,
        role=job.role,
        surface=job.surface,
        spans=spans,
        label_sets=sets,
        teachers=tuple(dict.fromkeys(set_id.partition(".span-")[0] for set_id in sets)),
        transform_graph=transform_graph.artifact.uri,
        schema=transform_graph.inputs["schema"].uri,
        job=job_hash(job),
        trainings=len(trainings),
    )


def refuse_trained_teacher(store: metadata_store.MetadataStore, model_uri: str, span: int) -> None:
    """Raises if the teacher trained on the span. Uses MLMD lineage, not the model's own metadata.

    Args:
        store: The run's MLMD.
        model_uri: URI of the model that labels the span; the empty marker is accepted.
        span: The span to label.

    Raises:
        BadInput: if a training in the model's history read the span, or MLMD lacks a part of this history.
    """
    for training in _trainings(store, model_uri):
        if span in training.spans():
            raise BadInput(
                "the teacher has trained on the span", where=f"labels of span {span}",
                expected="a teacher without the span in its MLMD lineage (label_with: previous)",
                got=f"{model_uri}: Trainer execution {training.model.execution.id} read span {span}",
                fix="Restore ROOT/records/teacher, which names the model, or set label_with: current.",
            )  # fmt: skip


def labelling_model(store: metadata_store.MetadataStore, run_id: str) -> str | None:
    """URI of the model that labels in a pipeline run, from the output of SpanState.

    Args:
        store: The run's MLMD.
        run_id: Id of the pipeline run.

    Returns:
        The URI, also of an empty marker; None if no SpanState of the run has the output `teacher`.
    """
    run = store.get_context_by_type_and_name("pipeline_run", run_id)
    for execution in store.get_executions_by_context(run.id) if run else []:
        outputs = _artifacts(store, execution, _OUTPUT) if _component_type(execution) == "SpanState" else {}
        if "teacher" in outputs:
            return str(outputs["teacher"].uri)
    return None


def find_root(path: str | Path) -> Path | None:
    """The nearest folder with a run's MLMD: `path` or one of its parents; None if there is no such folder."""
    folders = (Path(path), *Path(path).parents)
    return next((folder for folder in folders if (folder / METADATA_FILE).is_file()), None)


def open_metadata(root: Path) -> metadata_store.MetadataStore:
    """Opens a root's MLMD read-only, so that a running loop is not disturbed.

    Raises:
        BadInput: if the MLMD is missing or cannot be read.
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
            fix="Name the folder that was given to `rankdistill run` as --root.",
        ) from error  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Product:
    """An artifact, the execution that made it, and the execution's inputs by key; all in one MLMD store."""

    store: metadata_store.MetadataStore
    artifact: metadata_store_pb2.Artifact
    execution: metadata_store_pb2.Execution
    inputs: dict[str, metadata_store_pb2.Artifact]

    @property
    def component_type(self) -> str:
        return _component_type(self.execution)

    @property
    def source(self) -> str:
        """URI of the artifact that a SpanState copied; empty if it wrote the empty marker."""
        return str(self.artifact.custom_properties["source"].string_value)

    @property
    def is_predecessor(self) -> bool:
        """Whether the model is a copy of its predecessor to which one more deferred span was added."""
        if self.component_type != "CandidateCheck":
            return self.component_type == "TrainingDeferral"
        blessing = _artifacts(self.store, self.execution, _OUTPUT)["blessing"]
        return not blessing.custom_properties["blessed"].int_value


@dataclasses.dataclass(frozen=True)
class _Training:
    """One execution of a Trainer, which also reads the deferred spans of its base model.

    Attributes:
        model: The model that the Trainer made.
        deferred: The deferred spans of the base model.
        examples: The Examples artifacts that the training read: of deferred spans, then the Trainer's input.
    """

    model: _Product
    deferred: set[int]
    examples: list[metadata_store_pb2.Artifact]

    def spans(self) -> set[int]:
        return self.deferred.union(*(_input_spans(self.model.store, artifact) for artifact in self.examples))


def _trainings(store: metadata_store.MetadataStore, uri: str) -> list[_Training]:
    """The trainings in the history of a model, oldest first."""
    trainings: list[_Training] = []
    while uri:
        product = _find_product(store, uri)
        if product.component_type == "Trainer":
            deferred = _deferred_spans(_previous_uri(product))
            trainings.append(_Training(product, deferred, [product.inputs["examples"]]))
        elif trainings and product.is_predecessor:
            # The next training read the deferred span only if its base model has the span's shards.
            examples = product.inputs["examples"]
            if _input_spans(product.store, examples) <= trainings[-1].deferred:
                trainings[-1].examples.insert(0, examples)
        store, uri = product.store, _previous_uri(product)
    return trainings[::-1]


def _spans_with_rows(trainings: Sequence[_Training]) -> tuple[int, ...]:
    """The spans of some trainings, without spans that have no row: the training state leaves these out."""
    spans = set().union(*(training.spans() for training in trainings))
    record = Path(trainings[-1].model.artifact.uri, STATE_FOLDER, RECORD_FILE)
    if record.is_file():
        spans &= set(json.loads(record.read_text())["spans"])
    return tuple(sorted(spans))


def _joined_sets(trainings: Sequence[_Training], spans: Collection[int]) -> tuple[str, ...]:
    """Ids of the label sets that were joined to the examples of some spans, in order of training."""
    return tuple(
        dict.fromkeys(
            set_id
            for training in trainings
            for artifact in training.examples
            if not _input_spans(training.model.store, artifact).isdisjoint(spans)
            for set_id in _label_sets(artifact)
        )
    )


def _previous_uri(product: _Product) -> str:
    """URI of the previous model in the history of a model; empty if there is none."""
    if product.component_type == "SpanState":
        return product.source
    keys = {
        "Trainer": "base_model",
        "CandidateCheck": "predecessor" if product.is_predecessor else "candidate",
        "TrainingDeferral": "model",
        "SurfaceRename": "model",
        "Pusher": "model",
    }
    if product.component_type not in keys:
        raise _not_a_model(product.artifact.uri, f"an output of {product.component_type}")
    base = product.inputs.get(keys[product.component_type])
    return str(base.uri) if base else ""


def _find_product(store: metadata_store.MetadataStore, uri: str) -> _Product:
    """Looks up an artifact in `store`, or else in the MLMD of the root that contains the artifact.

    The artifact can be in another root: a loop without the teacher uses the teacher's transform graph.
    """
    product = _find_in_store(store, uri)
    if product is None and (root := find_root(uri)) is not None:
        product = _find_in_store(open_metadata(root), uri)
    if product is None:
        raise BadInput(
            "unknown to MLMD", where=uri, expected="an artifact of a finished step",
            got="no such artifact in the metadata of this root, or of the root that holds the artifact",
            fix="Name a folder under ROOT/artifacts or ROOT/serving, at the path where the run wrote it.",
        )  # fmt: skip
    return product


def _find_in_store(store: metadata_store.MetadataStore, uri: str) -> _Product | None:
    for artifact in store.get_artifacts_by_uri(uri):
        for event in store.get_events_by_artifact_ids([artifact.id]):
            # The output of a failed or killed execution has another event type.
            if event.type == _OUTPUT:
                (execution,) = store.get_executions_by_id([event.execution_id])
                return _Product(store, artifact, execution, _artifacts(store, execution, _INPUT))
    return None


def _pushed_artifact(store: metadata_store.MetadataStore, folder: str) -> str | None:
    """URI of the PushedModel artifact whose model was pushed to `folder`; None if there is none."""
    for artifact in store.get_artifacts_by_type("PushedModel"):
        if artifact.custom_properties["pushed_destination"].string_value == folder:
            return str(artifact.uri)
    return None


def _origin(store: metadata_store.MetadataStore, uri: str) -> _Product:
    """The original of an artifact that SpanStates have copied from span to span."""
    product = _find_product(store, uri)
    while product.component_type == "SpanState":
        product = _find_product(product.store, product.source)
    return product


def _input_spans(store: metadata_store.MetadataStore, examples: metadata_store_pb2.Artifact) -> set[int]:
    properties = _find_product(store, examples.uri).execution.custom_properties
    if "first_span" in properties:
        return set(range(properties["first_span"].int_value, properties["last_span"].int_value + 1))
    return {examples.properties["span"].int_value}


def _deferred_spans(model_uri: str) -> set[int]:
    """The deferred spans of a model, from the shards in its folder."""
    shards = Path(model_uri, DEFERRED_FOLDER, "Split-train").glob(SHARD_GLOB) if model_uri else ()
    return {parse_shard_name(shard.name).span for shard in shards}


def _label_sets(examples: metadata_store_pb2.Artifact) -> list[str]:
    """Ids of the joined label sets; none if the Examples come from the log, as in a surface's burn-in."""
    if "label_sets" not in examples.custom_properties:
        return []
    return list(json.loads(examples.custom_properties["label_sets"].string_value))


def _training_job(training: _Training) -> TrainingJob:
    execution = training.model.execution
    try:
        config = json.loads(execution.custom_properties["custom_config"].string_value)
        return from_json(TrainingJob, config["job"])
    except pydantic.ValidationError as error:
        raise BadInput(
            "the training job cannot be read", where=f"Trainer execution {execution.id}",
            expected="a job of this version of rankdistill", got=str(error.errors()[0]["msg"]),
            fix="Use the version of rankdistill that trained the model.",
        ) from error  # fmt: skip


def _artifacts(
    store: metadata_store.MetadataStore, execution: metadata_store_pb2.Execution, event_type: int
) -> dict[str, metadata_store_pb2.Artifact]:
    """An execution's artifacts by key: the inputs or the outputs, as `event_type` selects."""
    events = store.get_events_by_execution_ids([execution.id])
    events = [event for event in events if event.type == event_type]
    ids = [event.artifact_id for event in events]
    artifacts = {artifact.id: artifact for artifact in store.get_artifacts_by_id(ids)}
    return {
        step.key: artifacts[event.artifact_id]
        for event in events
        for step in event.path.steps
        if step.HasField("key")
    }


def _component_type(execution: metadata_store_pb2.Execution) -> str:
    return str(execution.type.rpartition(".")[2])


def _not_a_model(uri: str, got: str) -> BadInput:
    return BadInput(
        "not a model", where=uri, expected="a Model artifact or a pushed model", got=got,
        fix="Name a folder such as ROOT/artifacts/CandidateCheck_teacher/next_base/N.",
    )  # fmt: skip
