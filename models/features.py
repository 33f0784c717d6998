"""Settings for one input feature: the transformation of a raw column into numbers."""

from __future__ import annotations

from typing import Literal

from models.settings import settings

ServedValue = str | int | float | tuple[str, ...] | tuple[int, ...]
MAX_VOCABULARY = 1000
"""A model compares each value with the whole vocabulary, so a large one is slow."""

_MAX_BUCKETS = 2**31 - 1


@settings
class Feature:
    """Transformation of one raw column into an input of a model. Every kind accepts missing values.

    Attributes:
        kind: `id` embeds a string or integer. `bag` embeds each string of a list and takes the mean of the
            embeddings. `number` is a z-score, 0 where missing. `quantiles` divides the numbers into `buckets`
            ranges with equally many rows, and embeds the range of a number.
        buckets: number of buckets of an `id`, `bag` or `quantiles`, without the bucket for missing values. An
            `id` or `bag` is hashed into its buckets. 0 for a `number`, and with a vocabulary.
        vocabulary: values of an `id` or `bag` (integers as text), each with its own bucket; all others share
            one further bucket. Without `buckets` and `vocabulary`, the vocabulary is the column's domain in
            the schema.
        log: whether a `number` passes through log1p before its z-score (for counts and durations); values
            below 0 become 0.
        served_as: value that replaces the column's values in labels, evaluation and serving. Only training
            reads the column, such as the position on the page. None: the column's own values.

    Reference: Zhao et al., RecSys '19, and Haldar et al., KDD '20 (position as an input of training only).
    """

    kind: Literal["id", "bag", "number", "quantiles"]
    buckets: int = 0
    vocabulary: tuple[str, ...] = ()
    log: bool = False
    served_as: ServedValue | None = None

    def __post_init__(self) -> None:
        if self.kind == "number" and self.buckets != 0:
            raise ValueError(
                f'a feature of kind "number" has no buckets, got {self.buckets}. Use kind "quantiles".'
            )
        if self.vocabulary:
            self._check_vocabulary()
        elif self.kind != "number" and self.buckets < 2:
            raise ValueError(f'a feature of kind "{self.kind}" needs buckets >= 2, got {self.buckets}.')
        if self.buckets > _MAX_BUCKETS:
            raise ValueError(f"a feature has at most {_MAX_BUCKETS} buckets, got {self.buckets}.")
        if self.log and self.kind != "number":
            raise ValueError(f'log is only for kind "number", got it on kind "{self.kind}". Remove it.')
        if isinstance(self.served_as, tuple) and self.kind != "bag":
            raise ValueError(f'served_as of a feature of kind "{self.kind}" must be one value, got a list.')

    @property
    def embedded(self) -> bool:
        """Whether the feature has an embedding table: `num_buckets + 1` rows, row 0 for missing values."""
        return self.kind != "number"

    @property
    def num_buckets(self) -> int:
        """Number of buckets, with the bucket of values outside the vocabulary; without that of null."""
        return len(self.vocabulary) + 1 if self.vocabulary else self.buckets

    def _check_vocabulary(self) -> None:
        if self.kind not in ("id", "bag"):
            raise ValueError(f'a vocabulary is for kind "id" or "bag", got it on kind "{self.kind}".')
        if self.buckets:
            raise ValueError(f"a feature has buckets or a vocabulary, got both ({self.buckets} buckets).")
        if len(self.vocabulary) > MAX_VOCABULARY:
            raise ValueError(
                f"a vocabulary has at most {MAX_VOCABULARY} values, got {len(self.vocabulary)}. Use buckets."
            )
        if len(set(self.vocabulary)) < len(self.vocabulary):
            twice = next(value for value in self.vocabulary if self.vocabulary.count(value) > 1)
            raise ValueError(f"a vocabulary has every value once, got {twice!r} twice.")
