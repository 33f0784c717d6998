"""The error for wrong input, as opposed to a fault of the program."""

from __future__ import annotations

import re
from collections.abc import Callable

_USER_OF_A_URL = re.compile(r"(?<=://)[^/\s@]+(?=@)")
_SECRET_KEY = re.compile(
    r"([\w-]*(?:secret|password|token|credential|access_key|api_key)[\w-]*=)[^\s&,;'\"]+", re.IGNORECASE
)


class BadInput(ValueError):
    """Wrong input: a configuration, events, labels, a model or a command line.

    The message is one line: where, what is wrong, what is expected, what the input has, what to do. It masks
    passwords and tokens. It escapes characters that cannot be printed, because some control a terminal. The
    command line prints the message without a traceback and exits with code 2.
    """

    def __init__(self, what: str, *, where: str, expected: str, got: str, fix: str) -> None:
        text = f"{where}: {what}: expected {expected}, got {got.removesuffix('.')}. {fix}".replace("\n", " ")
        if not text.isprintable():
            text = "".join(char if char.isprintable() else _escaped(char) for char in text)
        super().__init__(without_secrets(text))

    @classmethod
    def from_message(cls, text: str) -> BadInput:
        """Rebuilds an error from its message, for example an error that a Beam worker raised."""
        error = cls.__new__(cls)
        error.args = (text,)
        return error

    def __reduce__(self) -> tuple[Callable[[str], BadInput], tuple[str]]:
        # Without this method a process pool could not unpickle the error of a worker.
        return type(self).from_message, (str(self),)


def without_secrets(text: str) -> str:
    """Masks the user and password of URLs, and the values of keys such as `--s3_secret_access_key=`."""
    return _SECRET_KEY.sub(r"\1***", _USER_OF_A_URL.sub("***", text))


def _escaped(char: str) -> str:
    """The Python escape of a character that cannot be printed, such as `\\x1b`."""
    return char.encode("unicode_escape").decode()
