"""Settings of one trial: the training job, its spans and the soft labels of a student."""

from __future__ import annotations

import hashlib
from typing import Literal

from models.job import TrainingJob
from models.settings import settings, to_json


@settings
class SoftLabelSource:
    """The teacher trial whose predictions a student reads as soft labels, and their treatment.

    Attributes:
        teacher: Key of the teacher's trial.
        first_span: Rows of earlier spans have no soft label.
        treatment: `none`, `permuted` or `calibrated`. `permuted`, the placebo, exchanges labels at random
            between rows of the same surface and span, so that they carry no information. `calibrated`
            corrects their mean per surface and task with the hard labels of earlier spans.
        bias: Added to the labels of one half of the slices and subtracted from those of the other half. The
            job's seed draws the halves. Unit: logits for a binary task, standard deviations of the hard
            labels for a regression.
        sliced_by: The feature whose values define the slices; empty if `bias` is 0.
    """

    teacher: str
    first_span: int
    treatment: Literal["none", "permuted", "calibrated"] = "none"
    bias: float = 0.0
    sliced_by: str = ""


@settings
class Trial:
    """A training job, the spans it trains on and the predictions it returns.

    Attributes:
        job: The training job, with its seed; its `surface` is ignored.
        first_span: The first span to train on; rows have no prediction before the first training.
        last_span: The last span to score and train on.
        kept_from: The first span whose predictions are returned.
        per_surface: True trains a separate model for each surface.
        labels: The soft labels of a distilled student; None for a teacher or control.
        age: Number of spans directly before a scored span that the model has not trained on yet.
    """

    job: TrainingJob
    first_span: int
    last_span: int
    kept_from: int
    per_surface: bool = False
    labels: SoftLabelSource | None = None
    age: int = 0

    def key(self, stream_key: str) -> str:
        """16 hex digits; equal for equal settings on the same stream."""
        return hashlib.sha256(f"{stream_key} {to_json(self)}".encode()).hexdigest()[:16]
