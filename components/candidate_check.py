"""CandidateCheck: compares a freshly trained model with its predecessor and blesses or discards it."""

import dataclasses
import json
import logging
import os

from tfx.components.evaluator import constants
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Examples, Model, ModelBlessing
from tfx.utils import io_utils

from components.evaluation.candidate import CandidateVerdict, candidate_verdict
from components.evaluation.push_gate import GateVerdict
from components.output_files import CANDIDATE_VERDICT_FILE
from components.training_deferral import defer_span
from components.transforms.scoring_rows import has_model, predict_rows, read_labels
from components.transforms.shards import HELD_OUT_SPLITS, split_files
from models.job import TrainingJob
from models.settings import from_json
from models.state import STATE_FOLDER, divergence_reason, read_state_record

_LOG = logging.getLogger(__name__)


@component
def CandidateCheck(
    candidate: InputArtifact[Model],
    predecessor: InputArtifact[Model],
    examples: InputArtifact[Examples],
    blessing: OutputArtifact[ModelBlessing],
    next_base: OutputArtifact[Model],
    job: Parameter[str],
    margin: Parameter[float],
) -> None:
    """Compares candidate and predecessor on held-out clusters, on which no model trains.

    A candidate is discarded if it is worse, a prediction is not finite, its training diverged, it had no row
    to train on, or one of its tasks has never had a label. Then the predecessor stays the last good
    model, and the span becomes a deferred span, on which the next candidate trains too.

    Args:
        candidate: The newly trained model.
        predecessor: The last good model, or the empty marker.
        examples: Examples of the span; splits `holdout` and `matured_holdout` are read.
        blessing: `BLESSED` or `NOT_BLESSED`, with the reason as a custom property and `verdict.json`.
        next_base: The base of the next span's training: a copy of the candidate if it is blessed. Otherwise a
            copy of the predecessor (or the empty marker), with the span's shards under `unlearned/`.
        job: JSON of the model's TrainingJob.
        margin: See `candidate_verdict`.
    """
    verdict = judge_candidate(
        candidate.uri,
        predecessor.uri if has_model(predecessor.uri) else None,
        [path for split in HELD_OUT_SPLITS for path in split_files(examples.uri, split)],
        from_json(TrainingJob, job),
        margin,
    )
    write_decision(blessing, verdict.blessed, CANDIDATE_VERDICT_FILE, verdict)
    if verdict.blessed:
        io_utils.copy_dir(candidate.uri, next_base.uri)
    else:
        defer_span(predecessor.uri, examples.uri, next_base.uri)


def judge_candidate(
    candidate: str, predecessor: str | None, files: list[str], job: TrainingJob, margin: float
) -> CandidateVerdict:
    """Judges a candidate by its predictions and its predecessor's predictions of the same rows.

    Args:
        candidate: URI of a Model artifact.
        predecessor: URI of a Model artifact; None if there is no model yet.
        files: Shards with the examples of held-out clusters.
        job: The candidate's training job; its tasks are compared.
        margin: See `candidate_verdict`.
    """
    reason = divergence_reason(candidate) or _untrained_reason(candidate, predecessor)
    if reason is not None:
        verdict = CandidateVerdict(False, reason, None, None, {}, {})
    else:
        verdict = candidate_verdict(
            read_labels(files, job.tasks),
            predict_rows(files, candidate, job.tasks),
            predict_rows(files, predecessor, job.tasks) if predecessor is not None else None,
            job.tasks,
            margin,
        )
    if not verdict.blessed:
        _LOG.warning("%s of %s discarded: %s", job.role, job.surface or "all surfaces", verdict.reason)
    return verdict


def _untrained_reason(candidate: str, predecessor: str | None) -> str | None:
    """Returns a reason if training added no step, or if a task has never had a label; otherwise None."""
    record = read_state_record(os.path.join(candidate, STATE_FOLDER))
    steps_before = (
        read_state_record(os.path.join(predecessor, STATE_FOLDER)).step if predecessor is not None else 0
    )
    if record.step == steps_before:
        return "it had no row to train on"
    if record.unlabelled_tasks:
        return f"it had no label of {', '.join(record.unlabelled_tasks)} to train on"
    return None


def write_decision(
    blessing: ModelBlessing, blessed: bool, file_name: str, verdict: CandidateVerdict | GateVerdict
) -> None:
    """Writes a verdict in the form that TFX's Pusher reads, and as JSON.

    Args:
        blessing: The artifact that Pusher reads.
        blessed: Whether to write `BLESSED`, so that Pusher pushes the model.
        file_name: Name of the JSON file inside the artifact.
        verdict: The verdict; its `reason` becomes a custom property.
    """
    name = constants.BLESSED_FILE_NAME if blessed else constants.NOT_BLESSED_FILE_NAME
    io_utils.write_string_file(os.path.join(blessing.uri, name), "")
    io_utils.write_string_file(
        os.path.join(blessing.uri, file_name), json.dumps(dataclasses.asdict(verdict), indent=1)
    )
    blessing.set_int_custom_property(
        constants.ARTIFACT_PROPERTY_BLESSED_KEY,
        constants.BLESSED_VALUE if blessed else constants.NOT_BLESSED_VALUE,
    )
    blessing.set_string_custom_property("reason", verdict.reason)
