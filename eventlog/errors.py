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

    The message is one complete line: where, what is wrong, what is expected, what the input has, what to do.
    Passwords and tokens in it are masked, and characters that cannot be printed are escaped, since a terminal
    obeys some. The command line prints this line without a traceback and exits with code 2.
    """

    def __init__(self, what: str, *, where: str, expected: str, got: str, fix: str) -> None:
        text = f"{where}: {what}: expected {expected}, got {got.removesuffix('.')}. {fix}".replace("\n", " ")
        if not text.isprintable():
            text = "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)
        super().__init__(without_secrets(text))

    @classmethod
    def from_message(cls, text: str) -> BadInput:
        """Rebuilds the error from its message, for example one that a Beam worker raised."""
        error = cls.__new__(cls)
        error.args = (text,)
        return error

    def __reduce__(self) -> tuple[Callable[[str], BadInput], tuple[str]]:
        # Without this a process pool could not read the error of its worker.
        return type(self).from_message, (str(self),)


def without_secrets(text: str) -> str:
    """Masks the user and password of URLs, and the values of keys such as `--s3_secret_access_key=`."""
    return _SECRET_KEY.sub(r"\1***", _USER_OF_A_URL.sub("***", text))


def _escaped(letter: str) -> str:
    """A control character, a line separator or a lone surrogate as Python writes it, such as `\\x1b`."""
    return letter.encode("unicode_escape").decode()
