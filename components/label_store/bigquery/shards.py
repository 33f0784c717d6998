"""Stages label shards as Parquet (in workers) and loads them into BigQuery (in `publish`)."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
from google.cloud import bigquery

from components.label_store.base import ShardWriter, SoftColumn, StagedShard, row_schema
from components.label_store.bigquery.jobs import JobRunner
from components.label_store.bigquery.location import LABELS, BigQueryLocation
from components.label_store.bigquery.tables import LABEL_SET
from components.label_store.publication import collected_attempt_error, describe_shard, prepare_rows
from eventlog.parquet_files import ParquetWriter, read_table, write_table

_FOLDER = "label_set="
_MAX_FILES_PER_JOB = 10_000
"""Maximum number of URIs in one load job of BigQuery."""
_MAX_ROWS_PER_UPLOAD = 5_000_000
"""Maximum rows of one upload, about 300 MB; only a single larger shard exceeds it. Several shards share one
upload, because BigQuery allows 1,500 load jobs per table and day."""


@dataclasses.dataclass(frozen=True)
class BigQueryShardWriter(ShardWriter):
    """Writes Parquet files below the staging prefix, in one folder for each attempt.

    Attributes:
        staging: `gs://bucket/prefix` or a folder.
        attempt_id: id of the attempt, and of the set if this attempt is published.
        columns: task → kind, link, unit and scale of its column `soft_<task>`.
    """

    staging: str
    attempt_id: str
    columns: dict[str, SoftColumn]

    @property
    def set_id(self) -> str:
        """See `ShardWriter`."""
        return self.attempt_id

    def write(self, name: str, table: pa.Table) -> StagedShard:
        """See `ShardWriter`. Every call writes a new file; `publish` loads one file per shard name."""
        table = prepare_rows(name, table, self.columns)
        path = f"{staging_folder(self.staging, self.attempt_id)}/{name}-{uuid.uuid4().hex}.parquet"
        file_system, inner_path = open_file_system(path)
        if isinstance(file_system, pafs.LocalFileSystem):  # Object stores have no folders.
            file_system.create_dir(inner_path.rpartition("/")[0])
        field = pa.field(LABEL_SET, pa.string(), nullable=False)
        rows = table.add_column(0, field, pa.array([self.attempt_id] * table.num_rows, pa.string()))
        with file_system.open_output_stream(inner_path) as stream:
            write_table(rows, stream)
        size = file_system.get_file_info(inner_path).size
        return describe_shard(name, path, size, table, self.columns)


def open_file_system(path: str) -> tuple[pafs.FileSystem, str]:
    """Returns the file system of a staging path, and the path inside that file system."""
    if path.startswith("gs://"):
        return _open_cloud_storage(os.environ.get("STORAGE_EMULATOR_HOST")), path.removeprefix("gs://")
    return pafs.LocalFileSystem(), path


def _open_cloud_storage(emulator: str | None) -> pafs.FileSystem:
    """Opens Cloud Storage, or its emulator at `scheme://host` or `host`; the default scheme is http.

    Arrow does not read STORAGE_EMULATOR_HOST itself.
    """
    if emulator is None:
        return pafs.GcsFileSystem()
    scheme, _, host = emulator.rpartition("://")
    return pafs.GcsFileSystem(anonymous=True, scheme=scheme or "http", endpoint_override=host)


def staging_folder(staging: str, set_id: str) -> str:
    """Returns the folder of an attempt's staged shards."""
    return f"{staging}/{_FOLDER}{set_id}"


def delete_staged_shards(staging: str, set_id: str) -> None:
    """Deletes the staged shards of an attempt, if there are any."""
    file_system, inner_path = open_file_system(staging_folder(staging, set_id))
    for info in file_system.get_file_info(pafs.FileSelector(inner_path, allow_not_found=True)):
        file_system.delete_file(info.path)
    is_local = isinstance(file_system, pafs.LocalFileSystem)
    if is_local and file_system.get_file_info(inner_path).type == pafs.FileType.Directory:
        file_system.delete_dir(inner_path)


def find_idle_attempts(staging: str, older_than_seconds: float) -> set[str]:
    """Returns the ids of the attempts whose newest staged file is older than `older_than_seconds`."""
    file_system, inner_path = open_file_system(staging)
    newest: dict[str, float] = {}
    for info in file_system.get_file_info(
        pafs.FileSelector(inner_path, allow_not_found=True, recursive=True)
    ):
        folder = info.path.rpartition("/")[0].rpartition("/")[2]
        if info.type == pafs.FileType.File and folder.startswith(_FOLDER):
            set_id = folder.removeprefix(_FOLDER)
            newest[set_id] = max(newest.get(set_id, 0.0), info.mtime.timestamp())
    cutoff = time.time() - older_than_seconds
    return {set_id for set_id, changed in newest.items() if changed < cutoff}


def require_staged_shards(set_id: str, shards: Sequence[StagedShard]) -> None:
    """Checks that the staged files of an attempt are complete.

    Raises:
        BadInput: if a file is missing or its size differs from `size_bytes`.
    """
    for shard in shards:
        file_system, inner_path = open_file_system(shard.path)
        info = file_system.get_file_info(inner_path)
        if info.type != pafs.FileType.File or info.size != shard.size_bytes:
            raise collected_attempt_error(set_id)


def load_shards(
    location: BigQueryLocation,
    jobs: JobRunner,
    set_id: str,
    tasks: Sequence[str],
    shards: Sequence[StagedShard],
    fields: Sequence[bigquery.SchemaField],
    load_number: int,
) -> None:
    """Loads staged shards into `labels`, in as few jobs as possible.

    A second call with the same shards and `load_number` does not load the rows again.

    Args:
        location: the dataset.
        jobs: runs the load jobs.
        set_id: id of the attempt.
        tasks: tasks of the shards' columns.
        shards: one copy of each shard.
        fields: columns of `labels`.
        load_number: 0 for the first load. The next number loads all rows again, in jobs with new ids. The
            caller must first delete the rows of the attempt.
    """
    from_cloud = location.staging.startswith("gs://")
    names = {LABEL_SET, *row_schema(tasks).names}
    config = bigquery.LoadJobConfig(
        source_format=bigquery.SourceFormat.PARQUET,
        write_disposition=bigquery.WriteDisposition.WRITE_APPEND,
        create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
        schema=[field for field in fields if field.name in names],
        labels=dict(location.billing_labels),
    )
    table = location.table(LABELS)
    make_submit = _make_cloud_load if from_cloud else _make_upload
    for group in group_shards(shards, from_cloud):
        submit = make_submit(jobs.client, [shard.path for shard in group], table, config)
        jobs.run_once(job_id_prefix(set_id, group, load_number), submit)


def job_id_prefix(set_id: str, shards: Sequence[StagedShard], load_number: int) -> str:
    """Returns the `id_prefix` of the load job for these shards, for `JobRunner.run_once`.

    The prefix depends only on the arguments, so every process returns the same one. `run_once` appends the
    number of the run.
    """
    lines = "\n".join([set_id, str(load_number), *sorted(shard.path for shard in shards)])
    return f"rankdistill_load_{hashlib.sha256(lines.encode()).hexdigest()[:40]}"


def group_shards(shards: Sequence[StagedShard], from_cloud: bool) -> Iterator[list[StagedShard]]:
    """Yields the shards of each load job, sorted by name.

    A job from Cloud Storage loads up to `_MAX_FILES_PER_JOB` files, an upload `_MAX_ROWS_PER_UPLOAD` rows.
    """
    group: list[StagedShard] = []
    rows = 0
    for shard in sorted(shards, key=lambda shard: shard.name):
        is_full = len(group) == _MAX_FILES_PER_JOB if from_cloud else rows + shard.rows > _MAX_ROWS_PER_UPLOAD
        if group and is_full:
            yield group
            group, rows = [], 0
        group.append(shard)
        rows += shard.rows
    if group:
        yield group


def _make_cloud_load(client: bigquery.Client, paths: list[str], table: str, config: Any) -> Any:
    return lambda job_id: client.load_table_from_uri(
        paths, table, job_id=job_id, job_config=config, retry=None
    )


def _make_upload(client: bigquery.Client, paths: list[str], table: str, config: Any) -> Any:
    def submit(job_id: str) -> Any:
        content = io.BytesIO(_concatenate_parquet(paths))
        return client.load_table_from_file(content, table, job_id=job_id, job_config=config, num_retries=0)

    return submit


def _concatenate_parquet(paths: list[str]) -> bytes:
    if len(paths) == 1:
        return Path(paths[0]).read_bytes()
    content = io.BytesIO()
    writer = None
    for path in paths:
        table = read_table(path)
        writer = writer or ParquetWriter(content, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()
    return content.getvalue()
