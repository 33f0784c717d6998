"""The push gate: is the student still no worse than its control, where users see the ranking?"""

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
    """When a surface's blessed students are pushed: a non-inferiority test on one primary metric.

    Attributes:
        task: The task judged: a binary one by AUC, a regression by RMSE on the task's scale.
        margin: How much worse than the control is still good enough, in the metric's unit, >= 0.
        alpha: At most this share of students that are worse by the margin is pushed, in (0, 1).
        spans: How many spans are pooled, >= 1.
    """

    task: str
    margin: float = 0.01
    alpha: float = 0.05
    spans: int = 3

    def __post_init__(self) -> None:
        if not (math.isfinite(self.margin) and self.margin >= 0):
            raise ValueError(
                f"push margin must be >= 0, got {self.margin}. Use 0 to ask for a better student."
            )
        if not 0 < self.alpha < 1:
            raise ValueError(f"push alpha must lie between 0 and 1, got {self.alpha}. Usual is 0.05.")
        if self.spans < 1:
            raise ValueError(f"push spans must be >= 1, got {self.spans}. Leave out the rule for no gate.")


@dataclass(frozen=True)
class GateVerdict:
    """What the push gate decided.

    Attributes:
        push: whether the candidate may be pushed.
        reason: one line for people.
        rests_on: `control` where student and control were compared, `candidate check` where they were not.
        difference: by how much the student is better than the control, in the metric's unit; None where
            they were not compared.
        lower_bound: of the difference, one-sided, at confidence 1 - alpha; None likewise.
        spans: the spans with rows that both predicted, in order.
        examples: labelled rows of these spans that both predicted.
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
    """Judges students by their control, each span by models that had not seen it.

    The student passes if the lower bound of its lead over the control lies above minus the margin: it has to
    show that it is good enough. Where there is nothing to show it on (a control that is sampled or off, too
    few positives) it passes, since nothing would ever be pushed otherwise, and the verdict says so.

    Args:
        tables: span -> predictions table; the last `rule.spans` in which both predicted are pooled.
        rule: the surface's.
        task: the one that the rule names.
        resamples: bootstrap draws of clusters, the same for student and control; at least 1 / alpha.
        seed: of the draws.
        min_positives: fewer rows of a binary task's rarer class are no evidence.

    Raises:
        ValueError: if there are too few resamples to tell the quantile alpha.
        BadInput: if a prediction is not finite.
    """
    if resamples * rule.alpha < 1:
        raise ValueError(
            f"resamples must be >= 1 / alpha to tell the quantile {rule.alpha:g}, got {resamples}. "
            f"Draw at least {math.ceil(1 / rule.alpha)}."
        )
    columns = [CLUSTER_ID, *(prefix + rule.task for prefix in (LABEL_PREFIX, "student_", "control_"))]
    judged = {span: tables[span].select(columns).drop_null() for span in sorted(tables)}
    spans = [span for span, rows in judged.items() if rows.num_rows][-rule.spans :]
    pooled = [judged[span] for span in spans]
    examples = sum(rows.num_rows for rows in pooled)
    lack = _lack(pooled, rule.task, task, min_positives)
    if lack is not None:
        return GateVerdict(True, lack, "candidate check", None, None, spans, examples)
    difference, lower_bound = _student_better_by(pooled, rule, task, resamples, seed)
    push = lower_bound > -rule.margin
    reason = (
        f"{METRICS[task.kind][0].upper()} of {rule.task}: student better than control by {difference:+.4f}, "
        f"{100 * (1 - rule.alpha):g} % lower bound {lower_bound:+.4f} {'above' if push else 'not above'} "
        f"minus the margin {rule.margin:g}, spans {', '.join(map(str, spans))}"
    )
    return GateVerdict(push, reason, "control", difference, lower_bound, spans, examples)


def _lack(pooled: Sequence[pa.Table], name: str, task: Task, min_positives: int) -> str | None:
    """What is missing for a comparison, None if nothing is."""
    if not pooled:
        return f"no labelled row of {name} that student and control both predicted"
    if task.kind != "binary":
        return None
    classes = [np.bincount(float_column(rows, LABEL_PREFIX + name) > 0.5, minlength=2) for rows in pooled]
    rarer = int(np.sum(classes, axis=0).min())
    if rarer < min_positives:
        return f"{rarer} rows of the rarer class of {name}, fewer than {min_positives}"
    if not any(of_span.all() for of_span in classes):
        return f"no span with both classes of {name}"
    return None


def _student_better_by(
    pooled: Sequence[pa.Table], rule: PushRule, task: Task, resamples: int, seed: int
) -> tuple[float, float]:
    """The difference of the rows as they are, and its lower bound."""
    known = pc.unique(pa.concat_tables(pooled)[CLUSTER_ID])
    student, control = (
        SpanFigures(
            task.kind, [_span_rows(rows, role, rule.task, task, known) for rows in pooled], len(known)
        )
        for role in ("student", "control")
    )
    metric, sign = METRICS[task.kind][0], 1 if task.kind == "binary" else -1
    drawn = student.resampled(resamples, seed)[metric] - control.resampled(resamples, seed)[metric]
    # A resample without one of the classes has no AUC. Of B draws the one at alpha (B + 1) is the bound: the
    # usual quantile lies higher and would let more than alpha pass.
    lower_bound = np.quantile(sign * drawn[np.isfinite(drawn)], rule.alpha, method="weibull")
    return sign * (student.once()[metric] - control.once()[metric]), float(lower_bound)


def _span_rows(rows: pa.Table, role: str, name: str, task: Task, known: pa.Array) -> SpanRows:
    return SpanRows(
        labels=on_task_scale(float_column(rows, LABEL_PREFIX + name), task),
        clusters=pc.index_in(rows[CLUSTER_ID], value_set=known).to_numpy().astype(np.int64),
        predictions=float_column(rows, f"{role}_{name}"),
    )
