"""Any file of a label store is read, or refused in one line; so is any shard of examples."""

from __future__ import annotations

import datetime
import functools
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import strategies as st

from components.label_store.base import LabelSetKey, LabelStore, SetFacts, SoftColumn, row_schema
from components.label_store.certificate import FILE_NAME, certify, read_certificate
from components.label_store.delta.store import DeltaLabelStore
from components.label_store.inspection import diff_sets, verify_set
from components.label_store.resolving import LabelSource, pin_span
from components.transforms.join_labels import cut_buckets, gather_labels, join_rows
from components.transforms.label_shards import label_table
from components.transforms.serialized import SERIALIZED, read_serialized
from components.transforms.shards import encode_examples, read_shards, write_records
from eventlog.rows import EVENT_TIME_MS, EXAMPLE_ID, IMPRESSION_SPAN, SOFT_PREFIX, SURFACE
from models.settings import to_json
from tests.fuzz.mutation import Case, mutated
from tests.fuzz.running import accepted, corpus, kept_folder, run_case, run_examples
from tests.fuzz.tables import as_parquet, parquet_files

TARGET = "label_reader"
SHARD, RECORD, PIN, EXAMPLES = "shard.parquet", "record.json", "pin", "examples.gz"
SPAN = 3
CLICK = SoftColumn(kind="binary", link="sigmoid", unit="probability")
DELAYS = {"click": 0}
ROWS = pa.table(
    {
        "example_id": ["a", "b", "c"],
        "event_date": [datetime.date(2022, 4, 8)] * 3,
        "surface": ["feed", "feed", "search"],
        "soft_click": [0.25, None, 1.0],
    },
    schema=row_schema(["click"]),
)
COLUMNS = pa.schema(
    [
        pa.field(EXAMPLE_ID, pa.string()),
        pa.field(EVENT_TIME_MS, pa.int64()),
        pa.field(IMPRESSION_SPAN, pa.int64()),
        pa.field(SURFACE, pa.string()),
        pa.field("tag", pa.list_(pa.string())),
        pa.field("soft_click", pa.float32()),
    ]
)
ENCODED = encode_examples(
    pa.RecordBatch.from_pydict(
        {
            EXAMPLE_ID: ["a", "b", "d"], EVENT_TIME_MS: [1, 2, 3], IMPRESSION_SPAN: [SPAN] * 3,
            SURFACE: ["feed"] * 3, "tag": [["x", "y"], None, ["z"]], "soft_click": [0.5, 0.25, None],
        },
        schema=COLUMNS,
    )
)  # fmt: skip


@functools.cache
def published() -> tuple[Path, str, str]:
    """A store with two sets and a pin, and the ids of the sets."""
    root = kept_folder() / "labels"
    store, ids = DeltaLabelStore(root), []
    facts = SetFacts(feature_version="f1", label_age_spans=1, seconds=2.5)
    for version in ("7", "8"):
        writer = store.stage(LabelSetKey(teacher="big", teacher_version=version, span=SPAN), {"click": CLICK})
        ids.append(store.publish(writer, [writer.write("shard-0", ROWS)], facts).set_id)
    store.pin("students", SPAN, ids[0])
    return root, ids[0], ids[1]


def place(root: Path, name: str) -> Path:
    """The file of the first set that a case replaces."""
    set_id = published()[1]
    patterns = {
        SHARD: f"label_set={set_id}/*.parquet",
        RECORD: f"_records/{set_id}-*.json",
        PIN: "_pins/*/span-*",
    }
    (path,) = root.glob(patterns[name])
    return path


def keys_of(value: Any) -> list[tuple[Any, Any]]:
    """Every pair of a mapping or list in a JSON value, and one of its keys."""
    pairs = (
        list(value.items())
        if isinstance(value, dict)
        else list(enumerate(value))
        if isinstance(value, list)
        else []
    )
    return [(value, key) for key, _ in pairs] + [found for _, inner in pairs for found in keys_of(inner)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["", "big.7", "../x", "span-1", "9" * 30, "regression", "\ud800", -1, 2**70]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip


@st.composite
def edited_json(draw: st.DrawFn, content: bytes) -> bytes:
    """A JSON file with a few values replaced or removed."""
    document = json.loads(content)
    for _ in range(draw(st.integers(1, 3))):
        if not (pairs := keys_of(document)):
            break
        holder, key = draw(st.sampled_from(pairs))
        if draw(st.booleans()):
            holder[key] = draw(JSON)
        else:
            del holder[key]
    return json.dumps(document).encode()


def encoded_shard(records: list[bytes]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write_records(f"{folder}/shard.gz", records)
        return (Path(folder) / "shard.gz").read_bytes()


@st.composite
def example_shards(draw: st.DrawFn) -> bytes:
    """A shard of examples with changed bytes in a record, or in the compressed file."""
    records = list(ENCODED)
    for position in draw(st.lists(st.integers(0, 2), max_size=3)):
        records[position] = draw(mutated(records[position]))
    content = encoded_shard(records)
    return draw(mutated(content)) if draw(st.integers(0, 3)) == 0 else content


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """One changed file."""
    root, _, _ = published()
    name = draw(st.sampled_from([SHARD, SHARD, RECORD, FILE_NAME, PIN, EXAMPLES]))
    if name == SHARD:
        return {
            name: draw(
                mutated(place(root, name).read_bytes()) | mutated(as_parquet(ROWS)) | parquet_files(ROWS)
            )
        }
    if name == EXAMPLES:
        return {name: draw(example_shards())}
    content = certificate() if name == FILE_NAME else place(root, name).read_bytes()
    return {name: draw(mutated(content) if name == PIN else mutated(content) | edited_json(content))}


@functools.cache
def certificate() -> bytes:
    root, first, _ = published()
    return to_json(certify(DeltaLabelStore(root).find_set(first), {"feed": 3})).encode()


def check(case: Case, folder: Path) -> None:
    ((name, content),) = case.items()
    if name == EXAMPLES:
        check_examples(folder / EXAMPLES, content)
    elif name == FILE_NAME:
        (folder / FILE_NAME).write_bytes(content)
        accepted(read_certificate, folder)
    else:
        shutil.copytree(published()[0], folder / "labels")
        place(folder / "labels", name).write_bytes(content)
        check_store(DeltaLabelStore(folder / "labels"))
        assert not list((folder / "labels").rglob(".*")), "a partial file is left"


def check_store(store: LabelStore) -> None:
    _, first, second = published()
    accepted(store.list_sets)
    record = accepted(store.find_set, first)
    accepted(pin_span, store, "students", LabelSource(teacher="big"), SPAN)
    accepted(pin_span, store, "others", LabelSource(teacher="big"), SPAN)
    accepted(store.delete_unpinned, older_than_seconds=0.0, dry_run=True)
    accepted(verify_set, store, first)
    accepted(diff_sets, store, first, second)
    if record is not None:
        accepted(join, store, first)


def join(store: LabelStore, set_id: str) -> None:
    scanned = [
        (set_id, rows)
        for batch in store.scan(set_id, [EXAMPLE_ID, SOFT_PREFIX + "click"], surface="feed")
        for _, rows in cut_buckets(pa.Table.from_batches([batch]), 2)
    ]
    labels = gather_labels(scanned, ["click"])
    examples = pa.table(
        {EXAMPLE_ID: ["a"], EVENT_TIME_MS: [1], IMPRESSION_SPAN: [SPAN], SURFACE: ["feed"], "example": [b""]},
        schema=SERIALIZED,
    )
    join_rows(examples, labels, DELAYS, SPAN)


def read_all(batches: Iterator[pa.RecordBatch]) -> list[pa.RecordBatch]:
    return list(batches)


def check_examples(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    batches = accepted(read_all, read_shards([str(path)], 2, COLUMNS))
    if batches:
        accepted(label_table, pa.Table.from_batches(batches), ["click"])
    serialized = accepted(read_all, read_serialized(str(path)))
    labels = ROWS.select([EXAMPLE_ID, "soft_click"])
    for batch in serialized or []:
        accepted(join_rows, pa.Table.from_batches([batch]), labels, DELAYS, SPAN)


@pytest.mark.parametrize("case", corpus(TARGET))
def test_a_saved_file_of_labels_or_examples_is_read_or_refused_in_one_line(case: Case) -> None:
    run_case(case, check)


def test_any_file_of_labels_or_examples_is_read_or_refused_in_one_line() -> None:
    run_examples(TARGET, cases(), check, examples=20)
