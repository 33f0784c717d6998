"""Shared fixtures: a frozen transform graph and shards of examples."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.shard_names import shard_name
from tests.models.tiny_world import FEATURES, freeze_graph, random_columns, write_shard


@pytest.fixture(scope="session")
def graph_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return freeze_graph(tmp_path_factory.mktemp("transform"), random_columns(200, seed=0), FEATURES)


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A train split of spans 3 (two shards) and 4."""
    folder = tmp_path_factory.mktemp("examples") / "Split-train"
    rows = random_columns(160, seed=3)
    write_shard(folder / shard_name(3, 0, 2), rows[:100])
    write_shard(folder / shard_name(3, 1, 2), rows[100:])
    write_shard(folder / shard_name(4, 0, 1), random_columns(80, seed=4))
    return folder
