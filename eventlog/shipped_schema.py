"""Finds the schema files that this project ships."""

from __future__ import annotations

from pathlib import Path

from eventlog.errors import BadInput

_ROOT = Path(__file__).resolve().parents[1]
_FOLDERS = (_ROOT / "schema", _ROOT / "rankdistill" / "schema")
"""In a checkout, and in a wheel: there a top-level `schema/` could collide with other packages."""


def shipped_schema(name: str) -> Path:
    """The path of a shipped file, such as `impressions.pbtxt`.

    Raises:
        BadInput: if no shipped file has this name.
    """
    files = _shipped_files()
    if name not in files:
        raise BadInput(
            "no such schema", where="shipped schemas", expected=f"one of {', '.join(sorted(files))}",
            got=repr(name), fix="Correct the name.",
        )  # fmt: skip
    return files[name]


def shipped_names(suffix: str) -> list[str]:
    """The sorted names of the shipped files that end with `suffix`, such as `.pbtxt`."""
    return sorted(name for name in _shipped_files() if name.endswith(suffix))


def _shipped_files() -> dict[str, Path]:
    return {file.name: file for folder in _FOLDERS if folder.is_dir() for file in folder.iterdir()}
