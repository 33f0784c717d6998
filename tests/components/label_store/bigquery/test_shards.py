from __future__ import annotations

import pyarrow.fs as pafs
import pytest

from components.label_store.base import StagedShard
from components.label_store.bigquery.shards import group_shards, job_id_prefix, open_file_system


def shard(number: int, rows: int = 10) -> StagedShard:
    return StagedShard(
        name=f"shard-{number:05d}",
        path=f"gs://bucket/{number}.parquet",
        size_bytes=100,
        rows=rows,
        rows_per_surface={"feed": rows},
        first_date="2022-04-25",
        last_date="2022-04-25",
        checksum=number,
    )


def test_a_load_job_has_at_most_ten_thousand_files():
    shards = [shard(number) for number in reversed(range(20_001))]
    groups = list(group_shards(shards, from_cloud=True))
    assert [len(group) for group in groups] == [10_000, 10_000, 1]
    assert [shard for group in groups for shard in group] == shards[::-1]


def test_an_upload_holds_shards_of_up_to_five_million_rows():
    shards = [shard(number, rows=2_000_000) for number in range(5)]
    groups = group_shards(shards, from_cloud=False)
    assert [[shard.name for shard in group] for group in groups] == [
        ["shard-00000", "shard-00001"],
        ["shard-00002", "shard-00003"],
        ["shard-00004"],
    ]
    huge = [shard(0, rows=9_000_000), shard(1)]
    assert [len(group) for group in group_shards(huge, from_cloud=False)] == [1, 1]


@pytest.mark.parametrize(
    ("host", "url"),
    [("localhost:4443", "http://localhost:4443"), ("https://localhost:4443", "https://localhost:4443")],
)
def test_an_emulator_without_a_scheme_is_reached_by_http(monkeypatch, host, url):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", host)
    file_system, path = open_file_system("gs://bucket/prefix")
    scheme, _, endpoint = url.partition("://")
    expected = pafs.GcsFileSystem(anonymous=True, scheme=scheme, endpoint_override=endpoint)
    assert (path, file_system) == ("bucket/prefix", expected)


def test_the_prefix_of_a_job_id_depends_on_set_files_and_load_number_but_not_on_order():
    shards = [shard(0), shard(1)]
    prefix = job_id_prefix("big.7.span-00003.0.abc", shards, 0)
    assert prefix == job_id_prefix("big.7.span-00003.0.abc", shards[::-1], 0)
    others = [
        job_id_prefix("big.7.span-00003.0.abd", shards, 0),
        job_id_prefix("big.7.span-00003.0.abc", shards[:1], 0),
        job_id_prefix("big.7.span-00003.0.abc", shards, 1),
    ]
    assert len({prefix, *others}) == 4
