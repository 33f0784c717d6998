"""Finds the files of a table and the names of their columns."""

from __future__ import annotations

import csv
import gzip
import itertools
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from eventlog.errors import BadInput
from eventlog.tables.mapping import INTERNAL_PREFIX, FileSettings

_FORMATS = {
    ".csv": ("csv", ","), ".txt": ("csv", ","), ".tsv": ("csv", "\t"), ".tab": ("csv", "\t"),
    ".parquet": ("parquet", ""), ".pq": ("parquet", ""), ".inter": ("atomic", "\t"),
}  # fmt: skip
"""Suffix → format and delimiter."""
_ATOMIC_COLUMN = re.compile(r"(?P<name>.+):(?P<kind>token|float|token_seq|float_seq)")
_ATOMIC_TYPES = {"token": "text", "float": "number", "token_seq": "texts", "float_seq": "numbers"}


_CHUNK_BYTES = 1_000_000
_NOT_TEXT = "This is not text in UTF-8 or Latin-1: save the table as CSV in UTF-8, or as Parquet."


@dataclass(frozen=True)
class TableFiles:
    """Files with the same columns.

    Attributes:
        files: the files, in order of their paths.
        format: `csv` or `parquet`.
        delimiter: text between two values; empty for Parquet.
        columns: name → type, in the order of the files; empty for Parquet. The types are those of
            `FileSettings.columns`, or `texts` and `numbers` for lists with spaces between their items.
    """

    files: tuple[Path, ...]
    format: str
    delimiter: str
    columns: dict[str, str]


def find_files(settings: FileSettings, source: Path, without: Iterable[Path] = ()) -> list[Path]:
    """The files of a table, sorted. Files whose names begin with `.` or `_` are left out.

    Args:
        settings: the table's settings. The pattern `*` also finds the files in subfolders.
        source: the folder that `settings.files` is relative to.
        without: files that do not belong to the table.

    Raises:
        BadInput: if there is no such file, or the name or pattern is not below the folder.
    """
    pattern = settings.files
    if Path(pattern).is_absolute() or ".." in Path(pattern).parts or not pattern.strip():
        raise BadInput(
            "not a pattern of files", where=str(source), expected="a name or pattern below this folder",
            got=repr(pattern), fix="Correct `files`, or put the files into this folder.",
        )  # fmt: skip
    others = set(without)
    found = sorted(
        file
        for file in (source.rglob(pattern) if pattern == "*" else source.glob(pattern))
        if file.is_file() and not file.name.startswith((".", "_")) and file not in others
    )
    if not found:
        raise BadInput(
            "no files", where=str(source), expected=f"files {pattern!r}", got="none",
            fix="Correct --source, or `files` in the mapping.",
        )  # fmt: skip
    return found


def require_source(source: Path, option: str) -> None:
    """Raises BadInput if a source does not exist; `option` names it on the command line."""
    if not source.exists():
        raise BadInput(
            "no source", where=str(source), expected="a file or a folder", got="nothing",
            fix=f"Correct {option}.",
        )  # fmt: skip


def require_complete(files: Iterable[Path]) -> None:
    """Reads every `.gz` file to its end, because DuckDB accepts a file that ends too early.

    Raises:
        BadInput: if a file is cut off or damaged.
    """
    for file in files:
        if file.suffix != ".gz":
            continue
        try:
            with gzip.open(file, "rb") as content:
                while content.read(_CHUNK_BYTES):
                    pass
        except (OSError, EOFError, zlib.error) as error:
            raise BadInput(
                "a damaged file", where=str(file), expected="a complete .gz file", got=str(error),
                fix="Copy or write the file again.",
            ) from error  # fmt: skip


def suffix_of(file: Path) -> str:
    """The suffix of a file in lower case; of a `.gz` file the suffix before it."""
    suffixes = file.suffixes
    return (suffixes[-2] if file.suffix == ".gz" and len(suffixes) > 1 else file.suffix).lower()


def group_files(settings: FileSettings, files: Iterable[Path]) -> list[TableFiles]:
    """Groups files by their columns, so that one query reads each group.

    Raises:
        BadInput: if the format of a file is unknown or not that of the other files, its header cannot be read
            or has a name twice, it lacks a column of `settings.columns`, or it is Parquet and has `columns`.
    """
    groups: dict[tuple[str, str, tuple[tuple[str, str], ...]], list[Path]] = {}
    for file in files:
        kind, delimiter = _format(settings, file)
        columns = {} if kind == "parquet" else _columns(settings, file, kind, delimiter)
        if kind == "parquet" and settings.columns:
            raise BadInput(
                "types of Parquet columns", where=str(file), expected="no `columns`: Parquet has types",
                got=", ".join(settings.columns), fix="Remove `columns`; cast in the expressions.",
            )  # fmt: skip
        key = ("csv" if kind == "atomic" else kind, delimiter, tuple(columns.items()))
        groups.setdefault(key, []).append(file)
    formats = {kind for kind, _, _ in groups}
    if len(formats) > 1:
        raise BadInput(
            "several formats in one table", where=str(next(iter(groups.values()))[0].parent),
            expected="files of one format", got=", ".join(sorted(formats)), fix="Name the files in `files`.",
        )  # fmt: skip
    return [
        TableFiles(tuple(found), kind, delimiter, dict(columns))
        for (kind, delimiter, columns), found in groups.items()
    ]


def _format(settings: FileSettings, file: Path) -> tuple[str, str]:
    kind, delimiter = _FORMATS.get(suffix_of(file), ("", ","))
    if settings.format is not None:
        kind, delimiter = settings.format, "\t" if settings.format == "atomic" else delimiter or ","
    elif settings.delimiter is not None:
        kind = "csv"
    if not kind:
        raise BadInput(
            "unknown format", where=str(file),
            expected=f"a suffix of {', '.join(_FORMATS)}, or these with .gz",
            got=repr(file.suffix), fix="Set `format` or `delimiter`, or name the files in `files`.",
        )  # fmt: skip
    return kind, "" if kind == "parquet" else settings.delimiter or delimiter


def _columns(settings: FileSettings, file: Path, kind: str, delimiter: str) -> dict[str, str]:
    """Name → type of the columns of a text file."""
    if not settings.header:
        return dict(settings.columns)
    names = _header(settings, file, delimiter)
    columns: dict[str, str] = {}
    seen: set[str] = set()
    for number, title in enumerate(names, 1):
        atomic = _ATOMIC_COLUMN.fullmatch(title) if kind == "atomic" else None
        if kind == "atomic" and atomic is None:
            expected = "names with types, such as user_id:token"
            raise _header_error(file, "not an atomic file", expected, repr(title), "Set `format: csv`.")
        name = atomic["name"] if atomic else title or f"column_{number}"
        if name.lower() in seen:
            # DuckDB ignores the case of letters in names.
            fix = "Rename one column; the case of letters does not count."
            raise _header_error(file, f"column {name} twice", "every column once", "two of them", fix)
        if name.startswith(INTERNAL_PREFIX):
            fix = "Rename the column."
            raise _header_error(file, f"column {name}", "no name that begins with __", repr(name), fix)
        seen.add(name.lower())
        columns[name] = _ATOMIC_TYPES[atomic["kind"]] if atomic else settings.columns.get(name, "text")
    missing = [name for name in settings.columns if name not in columns]
    if missing:
        got = f"columns {', '.join(columns)}"[:300]
        fix = "Correct `columns`, `delimiter` or `header` in the mapping."
        raise _header_error(file, f"missing column {', '.join(missing)}", "the mapping's columns", got, fix)
    return columns


def _header(settings: FileSettings, file: Path, delimiter: str) -> list[str]:
    # A spreadsheet program may have written a byte order mark.
    encoding = "utf-8-sig" if settings.encoding == "utf-8" else settings.encoding
    try:
        opened = gzip.open if file.suffix == ".gz" else open
        with opened(file, "rt", encoding=encoding, newline="") as lines:
            line = "".join(itertools.islice(lines, 1)).rstrip("\r\n")
    except (OSError, EOFError, UnicodeError) as error:
        with opened(file, "rb") as content:
            is_text = b"\0" not in content.read(_CHUNK_BYTES)
        fix = "Repair the file, or set `encoding: latin-1`." if is_text else _NOT_TEXT
        raise _header_error(file, "unreadable file", f"{settings.encoding} text", str(error), fix) from error
    if not line.strip() or "\0" in line:
        fix = _NOT_TEXT if "\0" in line else "Repair the file, or set `format` in the mapping."
        raise _header_error(file, "no header", "the names of the columns", repr(line[:80]), fix)
    if len(delimiter) > 1:
        return [name.strip(settings.quote or None) for name in line.split(delimiter)]
    if settings.quote:
        return next(csv.reader([line], delimiter=delimiter, quotechar=settings.quote))
    return line.split(delimiter)


def _header_error(file: Path, what: str, expected: str, got: str, fix: str) -> BadInput:
    return BadInput(what, where=str(file), expected=expected, got=got, fix=fix)
