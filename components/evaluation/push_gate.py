"""Verdict of the push gate: tests that a surface's students are not worse than their controls."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.evaluation.bootstrap import METRICS, SpanFigures, SpanRows
from components.evaluation.predictions import float_column
from components.evaluation.scales import on_task_scale
from eventlog.rows import CLUSTER_ID, LABEL_PREFIX
from models.settings import settings
from models.tasks import Task


@settings
class PushRule:
    """A surface's condition for a push: a non-inferiority test on the metric of one task.

    Attributes:
        task: The task to compare: AUC if it is binary, RMSE on the task's scale if it is a regression.
        margin: Accepted lead of the control over the student, in the metric's unit, >= 0.
        alpha: Level of the test, in (0, 1): the probability that a student worse by `margin` is pushed.
        spans: Number of the latest spans that are compared, >= 1.
    """

    task: str
    margin: float = 0.01
    alpha: float = 0.05
    spans: int = 3

    def __post_init__(self) -> None:
        if not (math.isfinite(self.margin) and self.margin >= 0):
            raise ValueError(
                f"push margin must be a finite number >= 0, got {self.margin}. "
                "Use 0 to require a better student."
            )
        if not 0 < self.alpha < 1:
            raise ValueError(f"push alpha must lie between 0 and 1, got {self.alpha}. Use for example 0.05.")
        if self.spans < 1:
            raise ValueError(f"push spans must be >= 1, got {self.spans}. Remove the rule for no gate.")


@dataclass(frozen=True)
class GateVerdict:
    """Outcome of the push gate.

    Attributes:
        push: whether the candidate may be pushed.
        reason: reason for the verdict, one line of text.
        rests_on: evidence for the verdict: `control` if student and control were compared, else
            `candidate check`.
        difference: the student's lead over the control in the metric's unit, positive if the student is
            better; None if not compared.
        lower_bound: one-sided lower bound of `difference` at confidence 1 - alpha; None if not compared.
        spans: the compared spans, in ascending order.
        examples: number of labelled rows of these spans that student and control have predicted.
    """

    push: bool
    reason: str
    rests_on: Literal["control", "candidate check"]
    difference: float | None
    lower_bound: float | None
    spans: list[int]
    examples: int


def gate_verdict(
    tables: Mapping[int, pa.Table],
    rule: PushRule,
    task: Task,
    resamples: int,
    seed: int,
    min_positives: int = 50,
) -> GateVerdict:
    """Compares students with their controls, by predictions that both made before training on the span.

    The student passes if the lower bound of its lead over the control is above `-rule.margin`. The student
    also passes if the models cannot be compared; otherwise some surfaces would never get a push. The
    verdict's `reason` then names the missing evidence: no labelled row that both have predicted, too few rows
    of the rarer class, or no span with both classes.

    Args:
        tables: span -> predictions table. The gate compares the last `rule.spans` spans with labelled rows
            that both have predicted. AUC is a mean over these spans; RMSE is computed on all their rows.
        rule: the surface's push rule.
        task: the task `rule.task`.
        resamples: number of bootstrap resamples, shared by student and control; at least 1 / alpha.
        seed: seed of the draws.
        min_positives: minimum number of rows of a binary task's rarer class.

    Raises:
        ValueError: if there are too few resamples to estimate the quantile alpha.
        BadInput: if a prediction is not finite.
    """
    if resamples * rule.alpha < 1:
        raise ValueError(
            f"resamples must be >= 1 / alpha to estimate the quantile {rule.alpha:g}, got {resamples}. "
            f"Draw at least {math.ceil(1 / rule.alpha)}."
        )
    columns = [CLUSTER_ID, *(prefix + rule.task for prefix in (LABEL_PREFIX, "student_", "control_"))]
    complete_rows = {span: tables[span].select(columns).drop_null() for span in sorted(tables)}
    spans = [span for span, rows in complete_rows.items() if rows.num_rows][-rule.spans :]
    compared = [complete_rows[span] for span in spans]
    examples = sum(rows.num_rows for rows in compared)
    missing_evidence = _find_missing_evidence(compared, rule.task, task, min_positives)
    if missing_evidence is not None:
        return GateVerdict(True, missing_evidence, "candidate check", None, None, spans, examples)
    difference, lower_bound = _compute_lead(compared, rule, task, resamples, seed)
    push = lower_bound > -rule.margin
    reason = (
        f"{METRICS[task.kind][0].upper()} of {rule.task}: the student's lead over its control is "
        f"{difference:+.4f}, its {100 * (1 - rule.alpha):g} % lower bound {lower_bound:+.4f} is "
        f"{'above' if push else 'not above'} {-rule.margin:g}; spans {', '.join(map(str, spans))}"
    )
    return GateVerdict(push, reason, "control", difference, lower_bound, spans, examples)


def _find_missing_evidence(
    compared: Sequence[pa.Table], name: str, task: Task, min_positives: int
) -> str | None:
    """Returns the reason why student and control cannot be compared; None if they can."""
    if not compared:
        return f"no labelled row of {name} has predictions of student and control"
    if task.kind != "binary":
        return None
    classes = [np.bincount(float_column(rows, LABEL_PREFIX + name) > 0.5, minlength=2) for rows in compared]
    rarer = int(np.sum(classes, axis=0).min())
    if rarer < min_positives:
        return f"{rarer} rows of the rarer class of {name}, fewer than {min_positives}"
    if not any(counts.all() for counts in classes):
        return f"no span with both classes of {name}"
    return None


def _compute_lead(
    compared: Sequence[pa.Table], rule: PushRule, task: Task, resamples: int, seed: int
) -> tuple[float, float]:
    """Returns the student's lead over the control, positive if better, and the lead's lower bound."""
    ids = pc.unique(pa.concat_tables(compared)[CLUSTER_ID])
    student, control = (
        SpanFigures(task.kind, [_span_rows(rows, role, rule.task, task, ids) for rows in compared], len(ids))
        for role in ("student", "control")
    )
    metric, sign = METRICS[task.kind][0], 1 if task.kind == "binary" else -1
    leads = sign * (
        student.compute_resampled(resamples, seed)[metric]
        - control.compute_resampled(resamples, seed)[metric]
    )
    # A resample with only one class has no AUC. The Weibull quantile of B sorted values is the value number
    # alpha (B + 1). NumPy's default quantile is higher; with it, too many students would pass.
    lower_bound = np.quantile(leads[np.isfinite(leads)], rule.alpha, method="weibull")
    lead = sign * (student.compute_unweighted()[metric] - control.compute_unweighted()[metric])
    return lead, float(lower_bound)


def _span_rows(rows: pa.Table, role: str, name: str, task: Task, cluster_ids: pa.Array) -> SpanRows:
    return SpanRows(
        labels=on_task_scale(float_column(rows, LABEL_PREFIX + name), task),
        clusters=pc.index_in(rows[CLUSTER_ID], value_set=cluster_ids).to_numpy().astype(np.int64),
        predictions=float_column(rows, f"{role}_{name}"),
    )
