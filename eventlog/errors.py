"""The error for wrong input, as opposed to a fault of the program."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

# A password may contain `@` and `/`, so everything up to the last `@` is masked, even if this is too much.
_USER_OF_A_URL = re.compile(r"(?<=://)(?:[^/\s:]*:\S*|[^/\s]+)(?=@)")
_SECRET_KEY = re.compile(
    r"""([\w-]*(?:secret|password|token|credential|access_key|api_key)[\w-]*['"]?(?:=|\s*:\s*))"""
    r"""(?:"[^"]*"|'[^']*'|[^\s&,;'"]+)""",
    re.IGNORECASE,
)


class BadInput(ValueError):
    """Wrong input: a configuration, events, labels, a model or a command line.

    The message is one line: where, what is wrong, what is expected, what the input has, what to do. Each part
    is masked by `without_secrets`. Characters that cannot be printed are escaped, because some control a
    terminal. The command line prints the message without a traceback and exits with code 2.
    """

    def __init__(self, what: str, *, where: str, expected: str, got: str, fix: str) -> None:
        # The parts are masked one by one: in the joined `password: unknown key`, `unknown` would be masked.
        where, what, expected, got, fix = map(without_secrets, (where, what, expected, got, fix))
        text = f"{where}: {what}: expected {expected}, got {got.removesuffix('.')}. {fix}".replace("\n", " ")
        if not text.isprintable():
            text = "".join(char if char.isprintable() else _escaped(char) for char in text)
        super().__init__(text)

    @classmethod
    def from_message(cls, text: str) -> BadInput:
        """Rebuilds an error from its message, for example an error that a Beam worker raised."""
        error = cls.__new__(cls)
        error.args = (text,)
        return error

    def __reduce__(self) -> tuple[Callable[[str], BadInput], tuple[str]]:
        # Without this method a process pool could not unpickle the error of a worker.
        return type(self).from_message, (str(self),)


class Mismatch(NamedTuple):
    """One of several faults of one input; the parts are those of `BadInput`."""

    what: str
    expected: str
    got: str
    fix: str


def require_no_mismatch(mismatches: Sequence[Mismatch], where: str) -> None:
    """Raises BadInput if there is a mismatch. The message explains the first and names all others."""
    if not mismatches:
        return
    first, *others = mismatches
    listed = "; ".join(f"{other.what}: expected {other.expected}, got {other.got}" for other in others)
    fix = f"{first.fix} Also: {listed}." if others else first.fix
    raise BadInput(first.what, where=where, expected=first.expected, got=first.got, fix=fix)


def without_secrets(text: str) -> str:
    """Masks users and passwords in URLs, and values of keys such as `--s3_secret_access_key=` or `password:`.

    A key is a name with one of the words in `_SECRET_KEY` before `=` or `:`. Other secrets stay readable.
    """
    return _SECRET_KEY.sub(r"\1***", _USER_OF_A_URL.sub("***", text))


def _escaped(char: str) -> str:
    """The Python escape of a character that cannot be printed, such as `\\x1b`."""
    return char.encode("unicode_escape").decode()
