from __future__ import annotations

import pytest

from components.label_store.delta.store import DeltaLabelStore
from components.label_store.schemes import open_store
from eventlog.errors import BadInput


def test_a_delta_uri_opens_a_delta_store_by_absolute_or_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for uri in (f"delta://{tmp_path}/labels", "delta:labels"):
        store = open_store(uri)
        assert isinstance(store, DeltaLabelStore)
        assert store.root == tmp_path / "labels"
        assert store.list_sets() == []


def test_an_unknown_scheme_is_refused_with_the_nearest_known_one():
    with pytest.raises(BadInput, match=r"got delat:\. Did you mean delta:\?"):
        open_store("delat:labels")


@pytest.mark.parametrize("uri", ["labels", "s3:labels"])
def test_a_uri_without_a_known_scheme_says_how_to_write_one(uri):
    with pytest.raises(BadInput, match="a URI that begins with one of delta:"):
        open_store(uri)


@pytest.mark.parametrize("uri", ["delta:", "delta://"])
def test_a_uri_must_name_a_place(uri):
    with pytest.raises(BadInput, match="no place named"):
        open_store(uri)
