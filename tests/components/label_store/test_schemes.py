from __future__ import annotations

import pytest

from components.label_store.delta.store import DeltaLabelStore
from components.label_store.schemes import open_store
from eventlog.errors import BadInput


def test_a_delta_uri_opens_a_delta_store_by_absolute_or_relative_path(tmp_path, monkeypatch, labels):
    monkeypatch.chdir(tmp_path)
    for uri in (f"delta://{tmp_path}/labels", "delta:labels"):
        store = open_store(uri)
        assert isinstance(store, DeltaLabelStore)
        assert store.list_sets() == []
        writer = store.stage(labels.make_key(), {"click": labels.CLICK})
        assert writer.root == str(tmp_path / "labels")


def test_an_unknown_scheme_is_refused_with_a_suggestion():
    with pytest.raises(BadInput, match=r"got 'delat:labels'\. Did you mean delta:\?"):
        open_store("delat:labels")


@pytest.mark.parametrize("uri", ["labels", "s3:labels"])
def test_a_uri_without_a_known_scheme_is_refused(uri):
    with pytest.raises(BadInput, match="a URI that begins with one of delta:"):
        open_store(uri)


@pytest.mark.parametrize("uri", ["delta:", "delta://"])
def test_a_uri_needs_a_path(uri):
    with pytest.raises(
        BadInput, match="not the URI of a label store: expected a path or project after delta:"
    ):
        open_store(uri)
