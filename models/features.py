"""Settings for one input feature: the transformation of a raw column into numbers."""

from __future__ import annotations

from typing import Literal

from models.settings import settings


@settings
class Feature:
    """Transformation of one raw column into an input of a model. Every kind accepts missing values.

    Attributes:
        kind: `id` hashes a string or integer into `buckets` and embeds it. `bag` does the same with each
            string of a list and takes the mean of the embeddings. `number` is a z-score, 0 where missing.
            `quantiles` divides the numbers into `buckets` ranges with equally many rows, and embeds the range
            of a number.
        buckets: number of buckets of an `id`, `bag` or `quantiles`, without the bucket for missing values; 0
            for a `number`.
        log: whether a `number` passes through log1p before its z-score (for counts and
            durations); values below 0 become 0.
    """

    kind: Literal["id", "bag", "number", "quantiles"]
    buckets: int = 0
    log: bool = False

    def __post_init__(self) -> None:
        if self.kind == "number" and self.buckets != 0:
            raise ValueError(
                f'a feature of kind "number" has no buckets, got {self.buckets}. Use kind "quantiles".'
            )
        if self.kind != "number" and self.buckets < 2:
            raise ValueError(f'a feature of kind "{self.kind}" needs buckets >= 2, got {self.buckets}.')
        if self.log and self.kind != "number":
            raise ValueError(f'log is only for kind "number", got it on kind "{self.kind}". Remove it.')

    @property
    def embedded(self) -> bool:
        """Whether the feature has an embedding table: `buckets + 1` rows, row 0 for missing values."""
        return self.kind != "number"
