"""PushGate: does a blessed student go into serving? How students have done against their controls decides."""

import logging
from pathlib import Path

from tfx.components.util import model_utils
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import ModelBlessing

from components.artifacts import Predictions
from components.candidate_check import write_decision
from components.evaluation.predictions import read_recent
from components.evaluation.push_gate import GateVerdict, PushRule, gate_verdict
from models.settings import from_json
from models.tasks import Task

VERDICT = "gate.json"

_LOG = logging.getLogger(__name__)


@component
def PushGate(
    blessing: InputArtifact[ModelBlessing],
    predictions: InputArtifact[Predictions],
    decision: OutputArtifact[ModelBlessing],
    surface: Parameter[str],
    span: Parameter[int],
    rule: Parameter[str],
    tasks: Parameter[str],
    resamples: Parameter[int],
    min_positives: Parameter[int],
    seed: Parameter[int],
) -> None:
    """Stands between CandidateCheck and Pusher: the candidate has to be blessed, and its kind good enough.

    Args:
        blessing: The candidate's, from CandidateCheck.
        predictions: Of the last spans, this one's among them, from ProgressiveEvaluator.
        decision: What Pusher goes by: `BLESSED` or `NOT_BLESSED`, with the verdict in `gate.json`.
        surface: The student's, for the log.
        span: The span, for the log.
        rule: JSON of the surface's PushRule.
        tasks: JSON of the tasks, by name.
        resamples: Bootstrap draws of clusters.
        min_positives: With fewer positives the candidate check decides alone.
        seed: Of the draws.
    """
    if model_utils.is_model_blessed(blessing):
        judged_by, by_name = from_json(PushRule, rule), from_json(dict[str, Task], tasks)
        tables = read_recent(Path(predictions.uri), by_name)
        verdict = gate_verdict(tables, judged_by, by_name[judged_by.task], resamples, seed, min_positives)
    else:
        verdict = GateVerdict(False, "the candidate was discarded", "candidate check", None, None, [], 0)
    write_decision(decision, verdict.push, VERDICT, verdict)
    if not verdict.push:
        _LOG.warning("push of %s, span %d, held back: %s", surface, span, verdict.reason)
