from __future__ import annotations

from components.label_store.base import StagedShard
from components.label_store.bigquery.shards import job_id_of, load_groups


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


def test_a_load_job_takes_ten_thousand_files_and_no_more():
    shards = [shard(number) for number in reversed(range(20_001))]
    groups = list(load_groups(shards, from_cloud=True))
    assert [len(group) for group in groups] == [10_000, 10_000, 1]
    assert [each for group in groups for each in group] == shards[::-1]


def test_uploads_are_put_together_up_to_five_million_rows():
    shards = [shard(number, rows=2_000_000) for number in range(5)]
    groups = load_groups(shards, from_cloud=False)
    assert [[each.name for each in group] for group in groups] == [
        ["shard-00000", "shard-00001"],
        ["shard-00002", "shard-00003"],
        ["shard-00004"],
    ]
    huge = [shard(0, rows=9_000_000), shard(1)]
    assert [len(group) for group in load_groups(huge, from_cloud=False)] == [1, 1]


def test_a_job_s_id_tells_the_set_the_files_and_the_generation_and_not_their_order():
    shards = [shard(0), shard(1)]
    name = job_id_of("big.7.span-00003.0.abc", shards, 0)
    assert name == job_id_of("big.7.span-00003.0.abc", shards[::-1], 0)
    others = [
        job_id_of("big.7.span-00003.0.abd", shards, 0),
        job_id_of("big.7.span-00003.0.abc", shards[:1], 0),
        job_id_of("big.7.span-00003.0.abc", shards, 1),
    ]
    assert len({name, *others}) == 4
