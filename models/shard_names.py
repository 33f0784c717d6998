"""File names of shards: `span-<span>-<shard>-of-<number of shards>.gz`, in the folder of their split."""

from __future__ import annotations

import re
from typing import NamedTuple

SHARD_GLOB = "span-*.gz"
"""Glob pattern of the shards in a folder."""
_SHARD_NAME = re.compile(r"span-(\d+)-(\d+)-of-(\d+)\.gz")


class ShardName(NamedTuple):
    """Fields of a shard's file name; `shard` is the shard's index, from 0."""

    span: int
    shard: int
    num_shards: int


def shard_name(span: int, shard: int, num_shards: int) -> str:
    """File name of one shard, for example `span-00003-00000-of-00004.gz`."""
    return f"span-{span:05d}-{shard:05d}-of-{num_shards:05d}.gz"


def parse_shard_name(path: str) -> ShardName:
    """The inverse of `shard_name`; ignores the folder of `path`.

    Raises:
        ValueError: if the file name is not that of a shard.
    """
    name = path.rpartition("/")[2]
    match = _SHARD_NAME.fullmatch(name)
    if match is None:
        raise ValueError(f'expected a shard name like {shard_name(3, 0, 4)}, got "{name}".')
    return ShardName(*map(int, match.groups()))
