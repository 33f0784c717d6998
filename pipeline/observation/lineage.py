"""What a model has learnt, and from whom, as MLMD has it; and the guard that asks before a span is labelled.

Works on `ml_metadata` alone, without TFX, so that a question is answered in a second. A model's way through
MLMD is a chain: a Trainer goes on from its base model, a CandidateCheck hands on the candidate or its
predecessor, a SpanState copies what another pipeline run (or another root's) has made.
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
"""By it a run's root is known, see `pipeline.paths`."""

_INPUT, _OUTPUT = metadata_store_pb2.Event.INPUT, metadata_store_pb2.Event.OUTPUT
_MODEL_TYPES = ("Model", "PushedModel")


@dataclasses.dataclass(frozen=True)
class Lineage:
    """Where a model comes from. What was learnt by candidates that were discarded is no part of it.

    Attributes:
        uri: The Model artifact's; of a pushed version, that of the model which was pushed.
        role: `teacher`, `student` or `control`.
        surface: The one it ranks for; None for all.
        spans: Every span whose Examples a training has read, ascending, burn-in included.
        label_sets: Ids of the sets joined to them, in the order of training; of a student alone.
        teachers: `<teacher>.<version>` of those sets, in the same order.
        transform_graph: URI of the frozen feature graph, where Transform wrote it.
        schema: URI of the Schema that the graph was fitted with.
        job: Hash of the last training's job, see `models.state.job_hash`.
        trainings: How many Trainer executions led to the model.
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
    """Walks MLMD upstream from a model.

    Args:
        store: The MLMD of the model's root.
        uri: Of a Model artifact, or the folder of a pushed version.

    Raises:
        BadInput: if MLMD does not know it or an artifact it comes from, if it is no model, or its job
            cannot be read.
    """
    uri = uri.rstrip("/")
    start = _made(store, _pushed_artifact(store, uri) or uri)
    if start.artifact.type not in _MODEL_TYPES:
        raise _no_model(uri, f"an artifact of type {start.artifact.type}")
    trainings = _trainings(store, start.artifact.uri)
    if not trainings:
        raise _no_model(uri, "the marker that says there is none yet")
    last = trainings[-1]
    job = _job(last)
    examples = [each for training in trainings for each in training.examples] if job.role == "student" else []
    sets = tuple(dict.fromkeys(each for artifact in examples for each in _label_sets(artifact)))
    graph = _original(last.made.store, last.made.inputs["transform_graph"].uri)
    return Lineage(
        uri=start.inputs["model"].uri if start.kind == "Pusher" else start.artifact.uri,
        role=job.role,
        surface=job.surface,
        spans=tuple(sorted(set().union(*(training.spans() for training in trainings)))),
        label_sets=sets,
        teachers=tuple(dict.fromkeys(each.partition(".span-")[0] for each in sets)),
        transform_graph=graph.artifact.uri,
        schema=graph.inputs["schema"].uri,
        job=job_hash(job),
        trainings=len(trainings),
    )


def refuse_leaking_teacher(store: metadata_store.MetadataStore, model_uri: str, span: int) -> None:
    """Lets nobody label a span who has trained on it; what the model says of itself is not asked.

    Args:
        store: The run's MLMD.
        model_uri: Of the Model artifact that is about to label; the empty marker passes.
        span: The span to be labelled.

    Raises:
        BadInput: if a training that led to the model has read the span, or MLMD cannot tell.
    """
    for training in _trainings(store, model_uri):
        if span in training.spans():
            raise BadInput(
                "the teacher has trained on the span it is to label", where=f"labels of span {span}",
                expected="a teacher that MLMD knows to come from other spans alone (label_with: previous)",
                got=f"{model_uri}, for which Trainer execution {training.made.execution.id} read span {span}",
                fix="Restore ROOT/records/teacher, which names the model, or choose label_with: current.",
            )  # fmt: skip


def labelling_model(store: metadata_store.MetadataStore, run_id: str) -> str | None:
    """URI of the model that SpanState has handed to a pipeline run's labeller.

    Args:
        store: The run's MLMD.
        run_id: Names the pipeline run.

    Returns:
        The URI, also of the empty marker; None if no teacher has been handed out in that run.
    """
    run = store.get_context_by_type_and_name("pipeline_run", run_id)
    for execution in store.get_executions_by_context(run.id) if run else []:
        handed_out = _artifacts(store, execution, _OUTPUT) if _kind(execution) == "SpanState" else {}
        if "teacher" in handed_out:
            return str(handed_out["teacher"].uri)
    return None


def find_root(path: str | Path) -> Path | None:
    """The nearest folder above `path`, or `path` itself, that holds a run's MLMD; None if there is none."""
    folders = (Path(path), *Path(path).parents)
    return next((folder for folder in folders if (folder / METADATA_FILE).is_file()), None)


def open_metadata(root: Path) -> metadata_store.MetadataStore:
    """Opens a root's MLMD for reading alone; a run that goes on there is not disturbed.

    Raises:
        BadInput: if there is none, or it cannot be read.
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
class _Made:
    """An artifact, what made it of which inputs, and the store that knows them all."""

    store: metadata_store.MetadataStore
    artifact: metadata_store_pb2.Artifact
    execution: metadata_store_pb2.Execution
    inputs: dict[str, metadata_store_pb2.Artifact]

    @property
    def kind(self) -> str:
        return _kind(self.execution)

    @property
    def source(self) -> str:
        """URI of what a SpanState has copied; empty if it has found nothing."""
        return str(self.artifact.custom_properties["source"].string_value)

    @property
    def is_predecessor(self) -> bool:
        """Whether this is a copy of a good model that goes on with a span it has not learnt."""
        if self.kind != "CandidateCheck":
            return self.kind == "TrainingDeferral"
        blessing = _artifacts(self.store, self.execution, _OUTPUT)["blessing"]
        return not blessing.custom_properties["blessed"].int_value


@dataclasses.dataclass(frozen=True)
class _Training:
    """A model as its Trainer made it.

    Attributes:
        made: The model.
        unlearned: Spans that its base model had still to learn.
        examples: What was read, as far as MLMD has it: theirs, then those of the Trainer's own input.
    """

    made: _Made
    unlearned: set[int]
    examples: list[metadata_store_pb2.Artifact]

    def spans(self) -> set[int]:
        return self.unlearned.union(*(_spans(self.made.store, each) for each in self.examples))


def _trainings(store: metadata_store.MetadataStore, uri: str) -> list[_Training]:
    """The trainings that led to a model, in their order."""
    trainings: list[_Training] = []
    while uri:
        made = _made(store, uri)
        if made.kind == "Trainer":
            trainings.append(_Training(made, _unlearned_spans(_upstream(made)), [made.inputs["examples"]]))
        elif trainings and made.is_predecessor:
            # MLMD does not say whether the span was handed on to the next training; its shards do.
            handed_on = made.inputs["examples"]
            if _spans(made.store, handed_on) <= trainings[-1].unlearned:
                trainings[-1].examples.insert(0, handed_on)
        store, uri = made.store, _upstream(made)
    return trainings[::-1]


def _upstream(made: _Made) -> str:
    """URI of the model that a model was made from; empty if from none."""
    if made.kind == "SpanState":
        return made.source
    keys = {
        "Trainer": "base_model",
        "CandidateCheck": "predecessor" if made.is_predecessor else "candidate",
        "TrainingDeferral": "model",
        "Pusher": "model",
    }
    if made.kind not in keys:
        raise _no_model(made.artifact.uri, f"what {made.kind} has made")
    base = made.inputs.get(keys[made.kind])
    return str(base.uri) if base else ""


def _made(store: metadata_store.MetadataStore, uri: str) -> _Made:
    """Looks an artifact up, in the MLMD of the root it lies under if `store` does not know it.

    Surfaces that run by themselves take the feature graph over from the root of their teacher.
    """
    made = _lookup(store, uri)
    if made is None and (root := find_root(uri)) is not None:
        made = _lookup(open_metadata(root), uri)
    if made is None:
        raise BadInput(
            "unknown to MLMD", where=uri, expected="an artifact that a finished step of a run has made",
            got="no such artifact in the metadata of this root or of its own",
            fix="Name a folder under ROOT/artifacts or ROOT/serving as it was when the run wrote it.",
        )  # fmt: skip
    return made


def _lookup(store: metadata_store.MetadataStore, uri: str) -> _Made | None:
    for artifact in store.get_artifacts_by_uri(uri):
        for event in store.get_events_by_artifact_ids([artifact.id]):
            # An execution that failed or was killed has left a pending output.
            if event.type == _OUTPUT:
                (execution,) = store.get_executions_by_id([event.execution_id])
                return _Made(store, artifact, execution, _artifacts(store, execution, _INPUT))
    return None


def _pushed_artifact(store: metadata_store.MetadataStore, folder: str) -> str | None:
    """URI of the PushedModel that says it was pushed to `folder`."""
    for artifact in store.get_artifacts_by_type("PushedModel"):
        if artifact.custom_properties["pushed_destination"].string_value == folder:
            return str(artifact.uri)
    return None


def _original(store: metadata_store.MetadataStore, uri: str) -> _Made:
    """What was copied from span to span, where it was first made."""
    made = _made(store, uri)
    while made.kind == "SpanState":
        made = _made(made.store, made.source)
    return made


def _spans(store: metadata_store.MetadataStore, examples: metadata_store_pb2.Artifact) -> set[int]:
    properties = _made(store, examples.uri).execution.custom_properties
    if "first_span" in properties:
        return set(range(properties["first_span"].int_value, properties["last_span"].int_value + 1))
    return {examples.properties["span"].int_value}


def _unlearned_spans(model_uri: str) -> set[int]:
    """Spans whose shards lie in a model's folder for its next training; none if there is no such folder."""
    shards = Path(model_uri, UNLEARNED_FOLDER, "Split-train").glob(SHARD_GLOB) if model_uri else ()
    return {parse_shard_name(shard.name).span for shard in shards}


def _label_sets(examples: metadata_store_pb2.Artifact) -> list[str]:
    return list(json.loads(examples.custom_properties["label_sets"].string_value))


def _job(training: _Training) -> TrainingJob:
    execution = training.made.execution
    try:
        config = json.loads(execution.custom_properties["custom_config"].string_value)
        return from_json(TrainingJob, config["job"])
    except pydantic.ValidationError as error:
        raise BadInput(
            "the training job cannot be read", where=f"Trainer execution {execution.id}",
            expected="a job of this version of rankdistill", got=str(error.errors()[0]["msg"]),
            fix="Ask with the version that trained the model.",
        ) from error  # fmt: skip


def _artifacts(
    store: metadata_store.MetadataStore, execution: metadata_store_pb2.Execution, kind: int
) -> dict[str, metadata_store_pb2.Artifact]:
    """An execution's inputs or outputs by the names they have there."""
    events = [each for each in store.get_events_by_execution_ids([execution.id]) if each.type == kind]
    artifacts = {each.id: each for each in store.get_artifacts_by_id([event.artifact_id for event in events])}
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
        fix="Name a folder such as ROOT/artifacts/CandidateCheck_teacher/good_model/N.",
    )  # fmt: skip
