"""Opens a label store by its URI; the scheme selects the backend."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from components.label_store.base import LabelStore
from eventlog.errors import BadInput


def _open_delta(location: str) -> LabelStore:
    # Imported here, so that only the selected backend is loaded.
    from components.label_store.delta.store import DeltaLabelStore

    return DeltaLabelStore(location)


def _open_bigquery(location: str) -> LabelStore:
    from components.label_store.bigquery.location import parse_location
    from components.label_store.bigquery.store import BigQueryLabelStore

    return BigQueryLabelStore(parse_location(location))


SCHEMES: dict[str, Callable[[str], LabelStore]] = {"delta": _open_delta, "bigquery": _open_bigquery}
"""Scheme → function that opens a store. A new backend adds a line here and a line to the contract suite."""


def open_store(uri: str) -> LabelStore:
    """Opens a label store.

    Args:
        uri: `delta:///absolute/path`, `delta:relative/path`, or
            `bigquery://PROJECT/DATASET?staging=gs://BUCKET/PREFIX`. `BigQueryLocation` lists further keys.

    Raises:
        BadInput: if the scheme is unknown, or nothing follows it.
    """
    scheme, _, location = uri.partition(":")
    if scheme not in SCHEMES:
        close = difflib.get_close_matches(scheme, SCHEMES, n=1, cutoff=0.5)
        raise BadInput(
            "unknown kind of label store",
            where=f"store {uri!r}",
            expected=f"a URI that begins with one of {', '.join(f'{name}:' for name in SCHEMES)}",
            got=f"{scheme}:" if location else repr(uri),
            fix=f"Did you mean {close[0]}:?" if close else "Correct the store's URI in the config.",
        )
    location = location.removeprefix("//")
    if not location:
        raise BadInput(
            "incomplete label store URI",
            where=f"store {uri!r}",
            expected=f"a path or project after {scheme}:",
            got="nothing after the scheme",
            fix="Correct the store's URI in the config.",
        )
    return SCHEMES[scheme](location)
