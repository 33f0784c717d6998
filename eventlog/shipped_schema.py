"""Paths of the schema files that this project ships."""

from __future__ import annotations

from pathlib import Path

from eventlog.errors import BadInput

_ROOT = Path(__file__).resolve().parents[1]
_FOLDERS = (_ROOT / "schema", _ROOT / "rankdistill" / "schema")
"""In a checkout; in a wheel, where a top-level `schema/` could collide with another package's."""


def shipped_schema(name: str) -> Path:
    """The path of a shipped file, such as `impressions.pbtxt`.

    Raises:
        BadInput: if there is no file of this name.
    """
    for folder in _FOLDERS:
        if (folder / name).is_file():
            return folder / name
    names = sorted(path.name for folder in _FOLDERS if folder.is_dir() for path in folder.iterdir())
    raise BadInput(
        "no such schema", where=f"shipped:{name}", expected=f"one of {', '.join(names)}", got=name,
        fix="Give the path of a file instead.",
    )  # fmt: skip
