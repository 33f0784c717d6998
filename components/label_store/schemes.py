"""Opens a label store by its URI; the scheme selects the backend."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from components.label_store.base import LabelStore
from eventlog.errors import BadInput
from eventlog.names import Fault, path_fault


def _open_delta(location: str) -> LabelStore:
    # Imported here, so that only the selected backend is loaded.
    from components.label_store.delta.store import DeltaLabelStore

    return DeltaLabelStore(location)


def _open_bigquery(location: str) -> LabelStore:
    from components.label_store.bigquery.location import parse_location
    from components.label_store.bigquery.store import BigQueryLabelStore

    return BigQueryLabelStore(parse_location(location))


SCHEMES: dict[str, Callable[[str], LabelStore]] = {"delta": _open_delta, "bigquery": _open_bigquery}
"""Scheme → function that opens a store. A new backend adds a line here and in the contract suite."""


def store_uri_fault(uri: str) -> Fault | None:
    """Returns the fault in a store's URI, or None if there is none.

    Does not check the form of a `bigquery:` location; `open_store` checks it.
    """
    scheme, _, location = uri.partition(":")
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}:" for name in SCHEMES)
        close = difflib.get_close_matches(scheme, SCHEMES, n=1, cutoff=0.5)
        fix = f"Did you mean {close[0]}:?" if close else "Correct the store's URI."
        return Fault(f"a URI that begins with one of {known}", repr(uri), fix)
    location = location.removeprefix("//")
    if not location:
        return Fault(f"a path or project after {scheme}:", repr(uri), "Correct the store's URI.")
    return path_fault(location) if scheme == "delta" else None


def require_store_uri(uri: str) -> None:
    """Raises BadInput if `store_uri_fault` finds a fault."""
    fault = store_uri_fault(uri)
    if fault is not None:
        raise BadInput(
            "not the URI of a label store", where=f"store {uri!r}", expected=fault.expected, got=fault.got,
            fix=fault.fix,
        )  # fmt: skip


def open_store(uri: str) -> LabelStore:
    """Opens a label store.

    Args:
        uri: `delta:///absolute/path`, `delta:relative/path`, or
            `bigquery://PROJECT/DATASET?staging=gs://BUCKET/PREFIX`. `BigQueryLocation` lists further keys.

    Raises:
        BadInput: if no backend has this scheme, or the backend refuses the rest of the URI.
    """
    require_store_uri(uri)
    scheme, _, location = uri.partition(":")
    return SCHEMES[scheme](location.removeprefix("//"))
