"""Settings of one trial: the training job, its spans and the source of a student's soft labels."""

from __future__ import annotations

import hashlib
from typing import Literal

from models.job import TrainingJob
from models.settings import settings, to_json


@settings
class SoftLabelSource:
    """The teacher's trial whose predictions are a student's soft labels, and their treatment.

    Attributes:
        teacher: Key of the teacher's trial.
        first_span: The first span with soft labels.
        treatment: `none`, `permuted` or `calibrated`. `permuted`, for placebos, permutes labels at random
            among the rows of a surface and span, so that they carry no information. `calibrated` corrects
            their mean for each surface and task with the hard labels of earlier spans.
        bias: Added to the labels on one half of the slices and subtracted from those on the other half;
            ignored if `treatment` is `permuted`. The job's seed decides the halves. Unit: logits for a binary
            task, standard deviations of the hard labels for a regression task.
        sliced_by: The feature whose values are the slices; empty if `bias` is 0.
    """

    teacher: str
    first_span: int
    treatment: Literal["none", "permuted", "calibrated"] = "none"
    bias: float = 0.0
    sliced_by: str = ""


@settings
class Trial:
    """A training job, its spans and the predictions to keep.

    Attributes:
        job: The training job, with its seed. Its `surface` is ignored.
        first_span: The first span to train on. It has no predictions, because no training precedes it.
        last_span: The last span to score and to train on.
        kept_from: The first span whose predictions are kept in the result.
        per_surface: True trains a separate model for each surface.
        label_source: Where a distilled student's soft labels come from; None for a teacher or control.
        extra_age: Number of spans that are left out between the last trained span and the scored span. At 0
            the model scores the next span, so the label age is 1.
    """

    job: TrainingJob
    first_span: int
    last_span: int
    kept_from: int
    per_surface: bool = False
    label_source: SoftLabelSource | None = None
    extra_age: int = 0

    def key(self, stream_key: str) -> str:
        """16 hex digits of a hash of the settings and the key of the stream."""
        return hashlib.sha256(f"{stream_key} {to_json(self)}".encode()).hexdigest()[:16]
