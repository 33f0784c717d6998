import contextlib
import importlib.metadata
import json
import sqlite3

import pytest

from eventlog.errors import BadInput
from pipeline.driver.root_platform import accept_platform, require_platform
from pipeline.paths import RunPaths

INSTALLED = importlib.metadata.version("tfx")


@pytest.fixture
def paths(tmp_path):
    return RunPaths(tmp_path / "root", tmp_path / "log")


@pytest.fixture
def metadata_rows(paths):
    """Makes the root's MLMD store with one context; the function that reads the names of all contexts."""
    from ml_metadata import metadata_store
    from ml_metadata.proto import metadata_store_pb2

    paths.root.mkdir()
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = paths.metadata
    config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    store = metadata_store.MetadataStore(config)
    kind = store.put_context_type(metadata_store_pb2.ContextType(name="pipeline"))
    store.put_contexts([metadata_store_pb2.Context(type_id=kind, name="demo")])

    def read(file):
        with contextlib.closing(sqlite3.connect(file)) as connection:
            return [name for (name,) in connection.execute("SELECT name FROM Context")]

    return read


def recorded(paths):
    return json.loads(paths.platform.read_text())["tfx"]


def test_a_new_root_records_the_installed_tfx(paths):
    assert accept_platform(paths) is None
    assert recorded(paths) == INSTALLED
    assert accept_platform(paths) is None
    assert [path.name for path in paths.root.iterdir()] == ["platform.json"]


def test_a_root_of_an_older_tfx_goes_on_with_a_copy_of_its_metadata(paths, metadata_rows):
    paths.platform.write_text('{"tfx": "1.2.0"}')
    require_platform(paths)
    copy = accept_platform(paths)
    assert copy == paths.root / "metadata.tfx-1.2.0.sqlite"
    assert metadata_rows(copy) == metadata_rows(paths.metadata) == ["demo"]
    assert recorded(paths) == INSTALLED
    assert accept_platform(paths) is None


def test_a_root_without_a_record_is_of_the_first_version(paths, metadata_rows, monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.99.0")
    assert accept_platform(paths) == paths.root / "metadata.tfx-1.16.0.sqlite"


def test_a_copy_of_a_killed_upgrade_is_kept(paths, metadata_rows):
    paths.platform.write_text('{"tfx": "1.2.0"}')
    copy = paths.root / "metadata.tfx-1.2.0.sqlite"
    copy.write_text("the first copy")
    accept_platform(paths)
    assert copy.read_text() == "the first copy"


def test_a_root_of_a_newer_tfx_is_refused_and_stays_as_it_is(paths, metadata_rows):
    paths.platform.write_text('{"tfx": "1.99.0"}')
    before = {path: path.read_bytes() for path in paths.root.iterdir()}
    message = (
        r"platform\.json: the root was run by a newer TFX: "
        rf"expected at most TFX {INSTALLED}, got TFX 1\.99\.0\. "
        r"Continue this root with TFX 1\.99\.0, or begin with a new --root\."
    )
    with pytest.raises(BadInput, match=message):
        require_platform(paths)
    assert {path: path.read_bytes() for path in paths.root.iterdir()} == before


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"tfx": 1}', b'{"tfx": "new"}', b"\xff"])
def test_an_unreadable_record_is_refused(paths, content):
    paths.root.mkdir()
    paths.platform.write_bytes(content)
    with pytest.raises(BadInput, match=r"platform\.json: the root's TFX version cannot be read: "):
        require_platform(paths)
