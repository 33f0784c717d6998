"""Settings of SoftLabelTransform: a surface's label set, and the action if its labels are unusable."""

from __future__ import annotations

from typing import Literal

from components.event_schema import EventColumns
from components.history.settings import HistorySource
from components.label_store.resolving import LabelSource
from models.settings import settings
from models.tasks import Task

WithoutLabels = Literal["stop", "hard-only", "last"]


@settings
class JoinSettings:
    """Settings of one surface's join, from the deployment's configuration; the same for all spans.

    Attributes:
        fleet: Name of the fleet of the surface's student.
        source: Rule by which the fleet's first student chooses the label set.
        tasks: Name → task, for all tasks of the teacher.
        events_table: BigQuery table of the impressions, `PROJECT.DATASET.TABLE`, if BigQuery runs the join.
            None: Beam runs the join.
        columns: Columns of `events_table`, if BigQuery runs the join.
        history: The history whose columns are added after a join in BigQuery; Beam joins examples that have
            them already.
        coverage_floor: Minimum coverage, in [0, 1].
        without_labels: Action if labels are missing, too old, or below `coverage_floor`.
        was: Earlier name of the surface: its rows and labels count as the surface's own; None if it had none.
        first_spans: Spans `A:B` with action `hard-only` instead of `without_labels`; None: no such spans.
    """

    fleet: str
    source: LabelSource
    tasks: dict[str, Task]
    events_table: str | None = None
    columns: EventColumns | None = None
    history: HistorySource | None = None
    coverage_floor: float
    without_labels: WithoutLabels
    was: str | None = None
    first_spans: str | None = None
