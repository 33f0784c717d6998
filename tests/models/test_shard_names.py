from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.shard_names import SHARD_GLOB, ShardName, parse_shard_name, shard_name


def test_a_shard_name_holds_span_shard_and_number_of_shards() -> None:
    assert shard_name(3, 0, 4) == "span-00003-00000-of-00004.gz"
    assert parse_shard_name("span-00003-00000-of-00004.gz") == ShardName(span=3, shard=0, num_shards=4)


def test_the_folder_is_ignored() -> None:
    path = "gs://bucket/examples/Split-train/span-00012-00001-of-00002.gz"
    assert parse_shard_name(path) == ShardName(12, 1, 2)


@given(st.tuples(*[st.integers(0, 10**7)] * 3))
def test_parsing_is_the_inverse_of_writing(fields: tuple[int, int, int]) -> None:
    name = shard_name(*fields)
    assert parse_shard_name(name) == fields
    assert fnmatch.fnmatch(name, SHARD_GLOB)


@pytest.mark.parametrize(
    "name", ["span-00003.gz", "span-00003-00000-of-00004.gz.partial", ".span-00003-00000-of-00004.gz", ""]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf'like span-00003-00000-of-00004\.gz, got "{name}"'):
        parse_shard_name(f"Split-train/{name}")
