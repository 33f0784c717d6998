"""Records the TFX version of a root: a newer version may continue the root, an older one may not."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import sqlite3
import uuid
from pathlib import Path

from eventlog.errors import BadInput
from pipeline.paths import RunPaths

_FIRST_VERSION = "1.16.0"
"""The version of a root without a record: older versions of rankdistill ran with this TFX only."""


def require_platform(paths: RunPaths) -> None:
    """Checks that no newer TFX has run the root; compares major and minor versions.

    Raises:
        BadInput: if a newer TFX has run the root, or `platform.json` cannot be read.
    """
    last = _last_version(paths)
    if last is not None and _major_and_minor(last) > _major_and_minor(_installed_version()):
        raise BadInput(
            "the root was run by a newer TFX", where=str(paths.platform),
            expected=f"at most TFX {_installed_version()}", got=f"TFX {last}",
            fix=f"Continue this root with TFX {last}, or begin with a new --root.",
        )  # fmt: skip


def accept_platform(paths: RunPaths) -> Path | None:
    """Records the version of the installed TFX in the root.

    If another version is recorded, first copies the MLMD store and upgrades its schema.

    Args:
        paths: The root, which has passed `require_platform`. `platform.json` in it holds the last version.

    Returns:
        The copy of the MLMD store, or None if none was made.
    """
    installed, last = _installed_version(), _last_version(paths)
    if last == installed:
        return None
    copy = None if last is None else _upgrade_metadata(Path(paths.metadata), last)
    paths.root.mkdir(parents=True, exist_ok=True)
    # On a Kubernetes cluster, the pipelines of several branches may write the file at the same time.
    partial = paths.platform.with_suffix(f".{uuid.uuid4().hex}")
    partial.write_text(json.dumps({"tfx": installed}) + "\n")
    partial.replace(paths.platform)
    return copy


def _installed_version() -> str:
    return importlib.metadata.version("tfx")


def _last_version(paths: RunPaths) -> str | None:
    """The TFX version that ran the root last; None for a new root."""
    try:
        version = json.loads(paths.platform.read_bytes())["tfx"]
        _major_and_minor(version)
    except FileNotFoundError:
        is_old = Path(paths.metadata).is_file() or Path(paths.records).is_dir()
        return _FIRST_VERSION if is_old else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            "the root's TFX version cannot be read", where=str(paths.platform),
            expected='{"tfx": "1.21.0"} or another version', got=f"{type(error).__name__}: {error}",
            fix="Write the version of TFX that ran the root last.",
        ) from error  # fmt: skip
    return str(version)


def _major_and_minor(version: str) -> tuple[int, int]:
    major, minor, *_ = version.split(".")
    return int(major), int(minor)


def _upgrade_metadata(metadata: Path, version: str) -> Path | None:
    """Copies the MLMD store, then upgrades its schema if the installed MLMD has a newer one."""
    if not metadata.is_file():  # On a Kubernetes cluster, Kubeflow's own MLMD has the metadata.
        return None
    from ml_metadata import metadata_store
    from ml_metadata.proto import metadata_store_pb2

    copy = metadata.with_suffix(f".tfx-{version}.sqlite")
    if not copy.exists():  # It exists if an earlier upgrade was killed.
        partial = copy.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        with (
            contextlib.closing(sqlite3.connect(metadata)) as source,
            contextlib.closing(sqlite3.connect(partial)) as target,
        ):
            source.backup(target)
        partial.replace(copy)
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(metadata)
    metadata_store.MetadataStore(config, enable_upgrade_migration=True)
    return copy
