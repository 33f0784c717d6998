"""One model (or one a surface) that is trained over a stretch of the stream: what is asked, and its name."""

from __future__ import annotations

import hashlib
from typing import Literal

from models.job import TrainingJob
from models.settings import settings, to_json


@settings
class SoftLabelSource:
    """Whose predictions a student reads as soft labels, and what is done to them first.

    Attributes:
        teacher: Key of the teacher's trial.
        first_span: Rows of earlier spans have no soft label.
        treatment: `none`; `permuted` exchanges the labels of rows at random within surface and span, the
            placebo: what a soft head does to training without anything to learn from it; `calibrated`
            scales them by the ratio of hard to soft labels per surface and task over earlier spans.
        bias: The dial. So much is added to the labels of half of the slices, drawn by the job's seed, and
            taken from the rest: logits for a probability, standard deviations of the labels for a regression.
        sliced_by: The feature whose values are the slices; nothing with the dial at 0.
    """

    teacher: str
    first_span: int
    treatment: Literal["none", "permuted", "calibrated"] = "none"
    bias: float = 0.0
    sliced_by: str = ""


@settings
class Trial:
    """A model's whole course: what it learns, and which of its predictions are kept.

    Attributes:
        job: What is trained, its seed included; its `surface` is not read.
        first_span: The first span learnt; what is scored before has no prediction.
        last_span: The last span scored, and learnt.
        kept_from: Predictions are kept from this span on.
        per_surface: Whether every surface has a model of its own.
        labels: The soft labels of a distilled student; None for everybody else.
        age: A span is scored by the model that has learnt nothing of the `age` spans before it; 0 scores
            with all that came before.
    """

    job: TrainingJob
    first_span: int
    last_span: int
    kept_from: int
    per_surface: bool = False
    labels: SoftLabelSource | None = None
    age: int = 0

    def key(self, stream: str) -> str:
        """16 hex digits: equal where the same is learnt from the same."""
        return hashlib.sha256(f"{stream} {to_json(self)}".encode()).hexdigest()[:16]
