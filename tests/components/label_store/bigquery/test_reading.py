from __future__ import annotations

from types import SimpleNamespace

import pyarrow as pa
import pytest

from components.label_store.bigquery.reading import read_stream
from eventlog.errors import BadInput


class Client:
    """A server's answer of one page; the real client decodes it in the same way."""

    def __init__(self, schema: pa.Schema) -> None:
        self._content = schema.serialize()

    def read_rows(self, stream):
        page = SimpleNamespace(to_arrow=lambda: pa.ipc.read_schema(self._content).empty_table())
        return SimpleNamespace(rows=lambda session: SimpleNamespace(pages=[page]))


def test_a_page_that_carries_code_is_refused_in_one_line():
    extension = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": b"N."}
    crafted = pa.schema([pa.field("soft_click", pa.float32(), metadata=extension)])
    with pytest.raises(BadInput, match=r"^stream-1: data with code: .* Find out who wrote this data"):
        list(read_stream(Client(crafted), None, "stream-1"))


def test_a_plain_page_is_given():
    plain = pa.schema([pa.field("soft_click", pa.float32())])
    (batch,) = read_stream(Client(plain), None, "stream-1")
    assert batch.schema == plain
