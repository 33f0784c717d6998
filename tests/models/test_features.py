from __future__ import annotations

from typing import Any

import pytest

from models.features import MAX_VOCABULARY, Feature


def test_the_values_outside_a_vocabulary_share_one_further_bucket() -> None:
    assert Feature(kind="id", vocabulary=("a", "b")).num_buckets == 3
    assert Feature(kind="bag", buckets=7).num_buckets == 7
    assert Feature(kind="number").num_buckets == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "number", "buckets": 5}, "has no buckets, got 5"),
        ({"kind": "id"}, "needs buckets >= 2, got 0"),
        ({"kind": "quantiles", "buckets": 1}, "needs buckets >= 2, got 1"),
        ({"kind": "bag", "buckets": 5, "log": True}, 'log is only for kind "number"'),
        ({"kind": "number", "vocabulary": ("a",)}, 'for kind "id" or "bag", got it on kind "number"'),
        ({"kind": "id", "buckets": 4, "vocabulary": ("a",)}, "got both \\(4 buckets\\)"),
        ({"kind": "id", "vocabulary": ("a", "b", "a")}, "got 'a' twice"),
        ({"kind": "id", "vocabulary": tuple(map(str, range(MAX_VOCABULARY + 1)))}, "at most 1000 values"),
        ({"kind": "id", "buckets": 4, "served_as": ("a", "b")}, "must be one value, got a list"),
    ],
)
def test_settings_without_meaning_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Feature(**settings)
