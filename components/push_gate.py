"""PushGate: lets Pusher push a blessed student only if the push rule allows it."""

import logging
from pathlib import Path

from tfx.components.util import model_utils
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import ModelBlessing

from components.artifacts import Predictions
from components.candidate_check import write_decision
from components.evaluation.predictions import read_predictions_by_span
from components.evaluation.push_gate import GateVerdict, PushRule, gate_verdict
from components.output_files import GATE_VERDICT_FILE
from models.settings import from_json
from models.tasks import Task

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
    """Blesses a candidate for Pusher if CandidateCheck has blessed it and the push rule allows the push.

    Args:
        blessing: Blessing of the candidate, from CandidateCheck.
        predictions: Predictions of the last spans, including this span, from ProgressiveEvaluator.
        decision: Pusher's input: `BLESSED` or `NOT_BLESSED`, with the verdict in `gate.json`.
        surface: The student's surface, for the log.
        span: The span, for the log.
        rule: JSON of the surface's PushRule.
        tasks: JSON of name → task.
        resamples: Number of bootstrap draws of clusters.
        min_positives: If a binary task has fewer rows of its rarer class, every blessed candidate passes.
        seed: Seed of the draws.
    """
    if model_utils.is_model_blessed(blessing):
        push_rule, tasks_by_name = from_json(PushRule, rule), from_json(dict[str, Task], tasks)
        tables = read_predictions_by_span(Path(predictions.uri), tasks_by_name)
        task = tasks_by_name[push_rule.task]
        verdict = gate_verdict(tables, push_rule, task, resamples, seed, min_positives)
    else:
        verdict = GateVerdict(False, "the candidate was discarded", "candidate check", None, None, [], 0)
    write_decision(decision, verdict.push, GATE_VERDICT_FILE, verdict)
    if not verdict.push:
        _LOG.warning("push of %s, span %d, held back: %s", surface, span, verdict.reason)
