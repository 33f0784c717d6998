"""Validates a YAML document as a class of settings; an error is one line that names the key."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from eventlog.errors import BadInput

T = TypeVar("T")
_UNKNOWN_KEY = "unexpected_keyword_argument"
_REASON = re.compile(
    r"(?:(?P<what>.*?): expected )?(?P<expected>.*?), got (?P<got>.*?)(?:\. (?P<fix>[A-Z].*))?"
)


def parse_settings(cls: type[T], document: Mapping[str, Any], path: Path, fix: str) -> T:
    """Validates a document.

    Args:
        cls: the class of settings.
        document: the content of a YAML file.
        path: the file, for error messages.
        fix: advice about a wrong value, such as the page that describes the keys.

    Raises:
        BadInput: if the document has an unknown key or a wrong value. The message names one fault, an unknown
            key first.
    """
    try:
        return pydantic.TypeAdapter(cls).validate_json(json.dumps(document))
    except pydantic.ValidationError as error:
        faults = error.errors()
        # A misspelt key often causes a second fault: the correct key is missing. Only the first is useful.
        unknown = (fault for fault in faults if fault["type"] == _UNKNOWN_KEY)
        raise _as_bad_input(cls, path, next(unknown, faults[0]), fix) from error


def _as_bad_input(cls: type, path: Path, fault: Mapping[str, Any], fix: str) -> BadInput:
    location = fault["loc"]
    where = ": ".join([str(path), *([".".join(map(str, location))] if location else [])])
    if fault["type"] == _UNKNOWN_KEY:
        keys = _keys_at(cls, location[:-1])
        close_keys = difflib.get_close_matches(str(location[-1]), keys, n=1)
        fix = f"Did you mean {close_keys[0]!r}?" if close_keys else f"Known keys here: {', '.join(keys)}."
        return BadInput("unknown key", where=where, expected="a known key", got=repr(location[-1]), fix=fix)
    if fault["type"] == "value_error":
        return _from_reason(str(fault["ctx"]["error"]).rstrip("."), where)
    if fault["type"] == "missing":
        expected, got = "a value", "nothing"
    else:
        expected, got = str(fault["msg"]).removeprefix("Input should be "), repr(fault["input"])
    return BadInput("wrong value", where=where, expected=expected, got=got, fix=fix)


def _from_reason(reason: str, where: str) -> BadInput:
    """The error of a class of settings, whose reason may have the parts of a `BadInput`."""
    parts = _REASON.fullmatch(reason)
    if parts is None:
        return BadInput(
            "wrong value", where=where, expected="valid settings", got=reason, fix="Correct the file."
        )
    what, expected, got, fix = parts.group("what", "expected", "got", "fix")
    return BadInput(
        what or "wrong value", where=where, expected=expected if what else f"that {expected}", got=got,
        fix=f"{fix}." if fix else "Correct the file.",
    )  # fmt: skip


def _keys_at(cls: type, location: tuple[Any, ...]) -> list[str]:
    """The valid keys at a location in the YAML. Follows the types of the settings on the location's path."""
    current: Any = cls
    for part in location:
        if dataclasses.is_dataclass(current):
            current = typing.get_type_hints(current).get(str(part))
        else:
            current = (typing.get_args(current) or (None,))[-1]
        members = [member for member in typing.get_args(current) if dataclasses.is_dataclass(member)]
        if members and typing.get_origin(current) is not dict:
            current = members[0]
    return [field.name for field in dataclasses.fields(current)] if dataclasses.is_dataclass(current) else []
