"""Settings of SoftLabelTransform: which label set a surface reads, and the policy if labels are unusable."""

from __future__ import annotations

from typing import Literal

from components.label_store.resolving import LabelSource
from models.settings import settings
from models.tasks import Task

WithoutLabels = Literal["stop", "hard-only", "last"]


@settings
class JoinSettings:
    """What the deployment's configuration says about one surface's join; the same for all spans.

    Attributes:
        fleet: The students that read the same label set of a span.
        source: Rule by which the fleet's first student chooses the label set.
        tasks: The teacher's tasks by name.
        events_table: BigQuery table of the impressions, `PROJECT.DATASET.TABLE`, if BigQuery joins; None if
            Beam does.
        coverage_floor: Minimum share of fresh rows with a soft label, in [0, 1].
        without_labels: Policy if labels are missing, too old or too few.
        first_spans: Spans `A:B` whose policy is `hard-only` whatever `without_labels` is; None for none.
    """

    fleet: str
    source: LabelSource
    tasks: dict[str, Task]
    events_table: str | None = None
    coverage_floor: float
    without_labels: WithoutLabels
    first_spans: str | None = None
