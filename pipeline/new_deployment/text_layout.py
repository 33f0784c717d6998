"""Guesses how a text file is written: encoding, delimiter, header and decimal separator."""

from __future__ import annotations

import csv
import gzip
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from eventlog.errors import BadInput

_SAMPLE_BYTES = 1_000_000
_DELIMITERS = ("\t", ",", ";", "|", "::")
_NUMBER = re.compile(r"[+-]?\d*[.,]?\d+([eE][+-]?\d+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+")
_ATOMIC_TITLE = re.compile(r".+:(token|float)(_seq)?")
_NULL_TEXTS = ("NA", "N/A", "NaN", "nan", "NULL", "null", "None", "\\N")


class TextLayout(NamedTuple):
    """How a text file is written.

    Attributes:
        encoding: `utf-8` or `latin-1`.
        delimiter: text between two values.
        names: names of the columns; without a header `column_1`, `column_2` and so on.
        has_header: whether the first line has the names.
        is_atomic: whether the header has types, as in RecBole's atomic files.
        decimal: decimal separator of numbers.
        null_texts: texts in the sample that mean a missing value.
    """

    encoding: str
    delimiter: str
    names: tuple[str, ...]
    has_header: bool
    is_atomic: bool
    decimal: str
    null_texts: tuple[str, ...]


def guess_layout(file: Path) -> TextLayout:
    """Guesses the layout from the first megabyte of a file, also of a `.gz` file.

    Raises:
        BadInput: if the file cannot be read or has no line.
    """
    text, encoding = _read_text(file)
    lines = text.splitlines()[:1000]
    if not lines:
        raise BadInput(
            "an empty file", where=str(file), expected="lines of values", got="no line",
            fix="Give another file.",
        )  # fmt: skip
    delimiter = _guess_delimiter(lines)
    rows = [_split(line, delimiter) for line in lines]
    has_header = _is_header(rows)
    first = rows[0]
    names = first if has_header else [f"column_{number}" for number in range(1, len(first) + 1)]
    values = [value.strip() for row in rows[has_header:] for value in row]
    found = Counter(values)
    with_comma = sum(bool(_DECIMAL_COMMA.fullmatch(value)) for value in values)
    with_point = sum(bool(re.fullmatch(r"[+-]?\d+\.\d+", value)) for value in values)
    return TextLayout(
        encoding,
        delimiter,
        tuple(names),
        has_header,
        has_header and all(_ATOMIC_TITLE.fullmatch(name) for name in names),
        "," if delimiter != "," and with_comma > with_point else ".",
        tuple(null for null in _NULL_TEXTS if found[null]),
    )


def _read_text(file: Path) -> tuple[str, str]:
    opened = gzip.open if file.suffix == ".gz" else open
    try:
        with opened(file, "rb") as lines:
            content = lines.read(_SAMPLE_BYTES)
    except (OSError, EOFError) as error:
        raise BadInput(
            "unreadable file", where=str(file), expected="text", got=str(error), fix="Repair the file."
        ) from error
    if b"\0" in content:
        raise BadInput(
            "not a text file", where=str(file), expected="CSV or TSV in UTF-8 or Latin-1, or Parquet",
            got="bytes with the value 0, as in a spreadsheet, an archive or UTF-16",
            fix="Save the table as CSV in UTF-8, or as Parquet.",
        )  # fmt: skip
    # The sample may end within a line, or within a character.
    if len(content) == _SAMPLE_BYTES:
        content = content[: content.rfind(b"\n") + 1] or content
    try:
        return content.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        return content.decode("latin-1"), "latin-1"


def _guess_delimiter(lines: list[str]) -> str:
    """The delimiter that divides most lines into the same number of values, at least two."""

    def score(delimiter: str) -> tuple[int, int]:
        ((width, num_lines),) = Counter(len(_split(line, delimiter)) for line in lines).most_common(1)
        return (num_lines, width) if width > 1 else (0, 0)

    return max(_DELIMITERS, key=score)


def _split(line: str, delimiter: str) -> list[str]:
    if len(delimiter) > 1:
        return line.split(delimiter)
    return next(csv.reader([line], delimiter=delimiter), [])


def _is_header(rows: list[list[str]]) -> bool:
    """Whether the first line has names: distinct texts and no number.

    Also, at least one column has only numbers in the other lines, or no column repeats its name there.
    """
    first, others = rows[0], rows[1:]
    if not others or len(set(first)) < len(first) or not all(value.strip() for value in first):
        return not others
    if any(_NUMBER.fullmatch(value.strip()) for value in first):
        return False
    columns = list(zip(*(row for row in others if len(row) == len(first)), strict=True))
    has_numbers = any(all(_NUMBER.fullmatch(value.strip()) for value in column) for column in columns)
    is_repeated = any(title in column for title, column in zip(first, columns, strict=False))
    return has_numbers or not is_repeated
