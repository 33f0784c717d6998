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
_FILES_A_JOB = 10_000
"""Maximum number of URIs in one load job of BigQuery."""
_ROWS_AN_UPLOAD = 5_000_000
"""About 300 MB. BigQuery allows 1,500 load jobs per table and day, so several shards share one upload."""


@dataclasses.dataclass(frozen=True)
class BigQueryShardWriter(ShardWriter):
    """Writes Parquet below the staging prefix, in one folder for each attempt.

    Attributes:
        staging: `gs://bucket/prefix` or a folder.
        attempt: the set id.
        columns: task → meaning of its column.
    """

    staging: str
    attempt: str
    columns: dict[str, SoftColumn]

    @property
    def set_id(self) -> str:
        """See `ShardWriter`."""
        return self.attempt

    def write(self, name: str, table: pa.Table) -> StagedShard:
        """Writes a new file in every call; `publish` loads one file per shard name."""
        table = prepare_rows(name, table, self.columns)
        path = f"{staging_folder(self.staging, self.attempt)}/{name}-{uuid.uuid4().hex}.parquet"
        files, inner = open_files(path)
        if isinstance(files, pafs.LocalFileSystem):  # Object stores have no folders.
            files.create_dir(inner.rpartition("/")[0])
        field = pa.field(LABEL_SET, pa.string(), nullable=False)
        rows = table.add_column(0, field, pa.array([self.attempt] * table.num_rows, pa.string()))
        with files.open_output_stream(inner) as stream:
            write_table(rows, stream)
        return describe_shard(name, path, files.get_file_info(inner).size, table, self.columns)


def open_files(path: str) -> tuple[pafs.FileSystem, str]:
    """Returns the file system of a staging path, and the path inside it."""
    if path.startswith("gs://"):
        return _cloud_storage(os.environ.get("STORAGE_EMULATOR_HOST")), path.removeprefix("gs://")
    return pafs.LocalFileSystem(), path


def _cloud_storage(emulator: str | None) -> pafs.FileSystem:
    """Opens Cloud Storage or its emulator. Arrow does not read STORAGE_EMULATOR_HOST itself."""
    if emulator is None:
        return pafs.GcsFileSystem()
    scheme, _, host = emulator.partition("://")
    return pafs.GcsFileSystem(anonymous=True, scheme=scheme, endpoint_override=host)


def staging_folder(staging: str, set_id: str) -> str:
    """Folder of an attempt's staged shards."""
    return f"{staging}/{_FOLDER}{set_id}"


def remove_staged(staging: str, set_id: str) -> None:
    """Deletes the staged shards of an attempt, if there are any."""
    files, inner = open_files(staging_folder(staging, set_id))
    for info in files.get_file_info(pafs.FileSelector(inner, allow_not_found=True)):
        files.delete_file(info.path)
    if isinstance(files, pafs.LocalFileSystem) and files.get_file_info(inner).type == pafs.FileType.Directory:
        files.delete_dir(inner)


def staged_before(staging: str, older_than_seconds: float) -> set[str]:
    """Returns the ids of the attempts whose newest staged file is older than this."""
    files, inner = open_files(staging)
    newest: dict[str, float] = {}
    for info in files.get_file_info(pafs.FileSelector(inner, allow_not_found=True, recursive=True)):
        folder = info.path.rpartition("/")[0].rpartition("/")[2]
        if info.type == pafs.FileType.File and folder.startswith(_FOLDER):
            set_id = folder.removeprefix(_FOLDER)
            newest[set_id] = max(newest.get(set_id, 0.0), info.mtime.timestamp())
    limit = time.time() - older_than_seconds
    return {set_id for set_id, changed in newest.items() if changed < limit}


def require_staged(set_id: str, shards: Sequence[StagedShard]) -> None:
    """Raises if a staged file is missing or changed.

    Raises:
        BadInput: if a file is missing or its size differs from `size_bytes`.
    """
    for shard in shards:
        files, inner = open_files(shard.path)
        info = files.get_file_info(inner)
        if info.type != pafs.FileType.File or info.size != shard.size_bytes:
            raise collected_attempt_error(set_id)


def load_shards(
    location: BigQueryLocation,
    jobs: JobRunner,
    set_id: str,
    tasks: Sequence[str],
    shards: Sequence[StagedShard],
    fields: Sequence[bigquery.SchemaField],
    generation: int,
) -> None:
    """Loads staged shards into `labels` exactly once, in as few jobs as possible.

    Args:
        location: the dataset.
        jobs: runs the load jobs.
        set_id: id of the attempt.
        tasks: tasks of the shards' columns.
        shards: one copy of each shard.
        fields: columns of the table.
        generation: number of earlier loads of these shards whose rows have been deleted again.
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
    make_submit = _load_from_cloud if from_cloud else _load_by_upload
    for group in load_groups(shards, from_cloud):
        submit = make_submit(jobs.client, [shard.path for shard in group], table, config)
        jobs.run_once(job_id_of(set_id, group, generation), submit)


def job_id_of(set_id: str, shards: Sequence[StagedShard], generation: int) -> str:
    """Returns the id, without attempt number, of the job for these shards; the same in every process."""
    paths = "\n".join([set_id, str(generation), *sorted(shard.path for shard in shards)])
    return f"rankdistill_load_{hashlib.sha256(paths.encode()).hexdigest()[:40]}"


def load_groups(shards: Sequence[StagedShard], from_cloud: bool) -> Iterator[list[StagedShard]]:
    """Yields the shards of each load job, sorted by name, within `_FILES_A_JOB` or `_ROWS_AN_UPLOAD`."""
    group: list[StagedShard] = []
    rows = 0
    for shard in sorted(shards, key=lambda shard: shard.name):
        full = len(group) == _FILES_A_JOB if from_cloud else rows + shard.rows > _ROWS_AN_UPLOAD
        if group and full:
            yield group
            group, rows = [], 0
        group.append(shard)
        rows += shard.rows
    if group:
        yield group


def _load_from_cloud(client: bigquery.Client, paths: list[str], table: str, config: Any) -> Any:
    return lambda job_id: client.load_table_from_uri(
        paths, table, job_id=job_id, job_config=config, retry=None
    )


def _load_by_upload(client: bigquery.Client, paths: list[str], table: str, config: Any) -> Any:
    def submit(job_id: str) -> Any:
        content = io.BytesIO(_concatenate(paths))
        return client.load_table_from_file(content, table, job_id=job_id, job_config=config, num_retries=0)

    return submit


def _concatenate(paths: list[str]) -> bytes:
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
