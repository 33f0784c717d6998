"""Checks that names and paths are safe to use.

A name becomes a folder, a part of ids and a part of a pipeline's name. A path becomes a URI and a file
pattern.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from eventlog.errors import BadInput

MAX_NAME_LENGTH = 40
"""TFX allows 63 characters for a pipeline's name, which is one of our names with a prefix or suffix."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_UNSAFE_CHARS = "[]*?%#\\"
"""Characters that TensorFlow reads as a pattern, or a label store as a part of a URL."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class Fault(NamedTuple):
    """The reason why a name or path is refused. Its text is `expected …, got …. …`, as in `BadInput`."""

    expected: str
    got: str
    fix: str

    def __str__(self) -> str:
        return f"expected {self.expected}, got {self.got}. {self.fix}"


def name_fault(
    name: str, reserved: Sequence[str] = (), max_length: int | None = MAX_NAME_LENGTH
) -> Fault | None:
    """Checks the name of a surface, teacher, fleet or deployment; returns None if it is safe.

    Args:
        name: the name.
        reserved: words with another meaning. The name must not be such a word, nor begin with one and `-`.
        max_length: largest allowed number of characters; None for no limit, as for ids that join names.
    """
    if not _NAME.fullmatch(name) or (max_length is not None and len(name) > max_length):
        limit = "" if max_length is None else f"at most {max_length} "
        return Fault(
            f"{limit}letters, digits, _ and -, the first a letter or a digit", repr(name), "Rename it."
        )
    if any(name == word or name.startswith(f"{word}-") for word in reserved):
        return Fault(
            f"another name than {', '.join(reserved)}", repr(name), "Rename it: this name is reserved."
        )
    return None


def path_fault(path: str | Path) -> Fault | None:
    """Checks the text of a local path; returns None if it is safe, so neither empty nor a URI."""
    if not str(path):
        return Fault("the name of a folder or file", "nothing", "Give a name.")
    if _SCHEME.match(str(path)):
        return Fault("a local path", repr(str(path)), "URIs are not supported here.")
    unsafe = next((char for char in str(path) if char in _UNSAFE_CHARS or not char.isprintable()), None)
    if unsafe is None:
        return None
    return Fault(
        f"a path without control characters and {' '.join(_UNSAFE_CHARS)}", f"{unsafe!r} in {str(path)!r}",
        "Use another folder: this character has a special meaning in file patterns or URLs.",
    )  # fmt: skip


def require_safe_path(path: str | Path, option: str) -> None:
    """Raises BadInput if a path or its absolute form is unsafe; `option` names the path in the message."""
    absolute = os.path.abspath(path)  # noqa: PTH100 - also for a path that no system call accepts
    fault = path_fault(path) or path_fault(absolute)
    if fault is not None:
        raise BadInput("unsafe path", where=option, expected=fault.expected, got=fault.got, fix=fault.fix)
