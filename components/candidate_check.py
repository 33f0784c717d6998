"""CandidateCheck: may a freshly trained model take its predecessor's place?"""

import dataclasses
import json
import logging
import os

from tfx.components.evaluator import constants
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Examples, Model, ModelBlessing
from tfx.utils import io_utils

from components.evaluation.candidate import Verdict, candidate_verdict
from components.evaluation.push_gate import GateVerdict
from components.training_deferral import hand_on
from components.transforms.scoring_rows import has_model, predict_rows, read_labels
from components.transforms.shards import HELD_OUT_SPLITS, split_files
from models.job import TrainingJob
from models.settings import from_json
from models.state import divergence

_LOG = logging.getLogger(__name__)


@component
def CandidateCheck(
    candidate: InputArtifact[Model],
    predecessor: InputArtifact[Model],
    examples: InputArtifact[Examples],
    blessing: OutputArtifact[ModelBlessing],
    good_model: OutputArtifact[Model],
    job: Parameter[str],
    margin: Parameter[float],
) -> None:
    """Compares candidate and predecessor on the clusters that are never trained on.

    A candidate that is worse, or whose training diverged, is discarded: the predecessor stays the good model,
    and carries the span along for the next candidate to learn as well.

    Args:
        candidate: The model just trained.
        predecessor: The last good one, or the empty marker.
        examples: The span's; splits `holdout` and `matured_holdout` are read.
        blessing: `BLESSED` or `NOT_BLESSED`, with the verdict as custom properties and `verdict.json`.
        good_model: A copy of the candidate if blessed, else of the predecessor (the marker, if there is
            none) with the span's shards under `unlearned/`: what the next span goes on from.
        job: JSON of the model's TrainingJob.
        margin: How much worse the candidate's relative loss may be, as a share of the predecessor's.
    """
    verdict = judge_candidate(
        candidate.uri,
        predecessor.uri if has_model(predecessor.uri) else None,
        [path for split in HELD_OUT_SPLITS for path in split_files(examples.uri, split)],
        from_json(TrainingJob, job),
        margin,
    )
    write_blessing(blessing, verdict)
    if verdict.blessed:
        io_utils.copy_dir(candidate.uri, good_model.uri)
    else:
        hand_on(predecessor.uri, examples.uri, good_model.uri)


def judge_candidate(
    candidate: str, predecessor: str | None, files: list[str], job: TrainingJob, margin: float
) -> Verdict:
    """Scores both models on the same rows and judges the one by the other.

    Args:
        candidate: URI of a Model artifact.
        predecessor: The same, or None.
        files: Example shards of held-out clusters.
        job: Tells the tasks.
        margin: See `candidate_verdict`.
    """
    diverged = divergence(candidate)
    if diverged is not None:
        verdict = Verdict(False, diverged, None, None, {}, {})
    else:
        verdict = _compared(candidate, predecessor, files, job, margin)
    if not verdict.blessed:
        _LOG.warning("%s of %s discarded: %s", job.role, job.surface or "all surfaces", verdict.reason)
    return verdict


def _compared(
    candidate: str, predecessor: str | None, files: list[str], job: TrainingJob, margin: float
) -> Verdict:
    return candidate_verdict(
        read_labels(files, job.tasks),
        predict_rows(files, candidate, job.tasks),
        predict_rows(files, predecessor, job.tasks) if predecessor is not None else None,
        job.tasks,
        margin,
    )


def write_blessing(blessing: ModelBlessing, verdict: Verdict) -> None:
    """Leaves the verdict where TFX's Pusher looks for it, and where people do."""
    write_decision(blessing, verdict.blessed, "verdict.json", verdict)


def write_decision(
    blessing: ModelBlessing, blessed: bool, file_name: str, verdict: Verdict | GateVerdict
) -> None:
    """The same of any verdict.

    Args:
        blessing: The artifact that Pusher reads.
        blessed: Whether the model goes on.
        file_name: Of the verdict's JSON, inside the artifact.
        verdict: What was decided; its `reason` becomes a custom property.
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
