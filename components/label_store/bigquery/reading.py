"""Reads label rows through the Storage Read API, in parallel streams."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from google.cloud.bigquery_storage import types

from components.label_store.base import EVENT_DATE, LabelSetRecord
from components.label_store.bigquery.location import LABELS, BigQueryLocation
from components.label_store.bigquery.tables import LABEL_SET
from eventlog.parquet_files import code_refused
from eventlog.rows import SURFACE

_MAX_STREAMS = 8
_MAX_WAITING_BATCHES = 16
"""Maximum number of batches that are read but not yet consumed."""


def read_rows(
    location: BigQueryLocation, record: LabelSetRecord, schema: pa.Schema, surface: str | None
) -> Iterator[pa.RecordBatch]:
    """Yields batches of a set's rows, in the order in which the streams deliver them.

    BigQuery selects the columns and filters by set, surface and dates. The dates limit the scan to the set's
    partitions.

    Args:
        location: the dataset.
        record: record of the set.
        schema: columns to read, and their types.
        surface: the surface whose rows are read; None for all surfaces.
    """
    client = location.read_client()
    session = open_session(client, location, record, schema.names, surface)
    for batch in _interleave([read_stream(client, session, stream.name) for stream in session.streams]):
        columns = [batch.column(field.name).cast(field.type) for field in schema]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def open_session(
    client: Any,
    location: BigQueryLocation,
    record: LabelSetRecord,
    columns: Sequence[str],
    surface: str | None,
) -> Any:
    """Opens a read session over a set's rows, with at most `_MAX_STREAMS` streams; see `read_rows`."""
    conditions = [
        f"{LABEL_SET} = {_literal(record.set_id)}",
        f"{EVENT_DATE} >= {_literal(record.first_date)}",
        f"{EVENT_DATE} <= {_literal(record.last_date)}",
    ]
    if surface is not None:
        conditions.append(f"{SURFACE} = {_literal(surface)}")
    options = types.ReadSession.TableReadOptions(
        selected_fields=list(columns), row_restriction=" AND ".join(conditions)
    )
    return client.create_read_session(
        parent=f"projects/{location.project}",
        read_session=types.ReadSession(
            table=f"projects/{location.project}/datasets/{location.dataset}/tables/{LABELS}",
            data_format=types.DataFormat.ARROW,
            read_options=options,
        ),
        max_stream_count=_MAX_STREAMS,
    )


def read_stream(client: Any, session: Any, stream: str) -> Iterator[pa.RecordBatch]:
    """Yields the batches of one stream. After a broken connection the client resumes the stream.

    Raises:
        BadInput: if a batch has a column of pickled Python code.
    """
    for page in client.read_rows(stream).rows(session).pages:
        with code_refused(stream):
            batch = page.to_arrow()
        yield batch


def _interleave(streams: Sequence[Iterator[pa.RecordBatch]]) -> Iterator[pa.RecordBatch]:
    """Yields the non-empty batches of all streams; raises the first error. A thread reads each stream."""
    batches: queue.Queue[Any] = queue.Queue(_MAX_WAITING_BATCHES)
    is_closed = threading.Event()

    def put(item: Any) -> bool:
        """Queues a batch, an error or None (end of a stream); returns False if the consumer has stopped."""
        while not is_closed.is_set():
            try:
                batches.put(item, timeout=0.5)
                return True
            except queue.Full:
                continue
        return False

    def read(stream: Iterator[pa.RecordBatch]) -> None:
        try:
            for batch in stream:
                if not put(batch):
                    return
            put(None)
        except Exception as error:  # The consumer raises it, in its own thread.
            put(error)

    threads = [threading.Thread(target=read, args=[stream], daemon=True) for stream in streams]
    for thread in threads:
        thread.start()
    try:
        open_streams = len(threads)
        while open_streams:
            item = batches.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                open_streams -= 1
            elif item.num_rows:
                yield item
    finally:
        is_closed.set()


def _literal(text: str) -> str:
    """Returns a GoogleSQL string literal."""
    # GoogleSQL has JSON's escapes, except surrogates such as `\ud83d`. ensure_ascii=False writes none.
    return json.dumps(text, ensure_ascii=False)
