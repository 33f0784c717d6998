"""The error for wrong input, as opposed to a fault of the program."""

from __future__ import annotations

import re

_USER_OF_A_URL = re.compile(r"(?<=://)[^/\s@]+(?=@)")
_SECRET_KEY = re.compile(
    r"([\w-]*(?:secret|password|token|credential|access_key|api_key)[\w-]*=)[^\s&,;'\"]+", re.IGNORECASE
)
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class BadInput(ValueError):
    """Wrong input: a configuration, events, labels, a model or a command line.

    The message is one complete line: where, what is wrong, what is expected, what the input has, what to do.
    Passwords and tokens in it are masked. The command line prints this line without a traceback and exits
    with code 2.
    """

    def __init__(self, what: str, *, where: str, expected: str, got: str, fix: str) -> None:
        line = f"{where}: {what}: expected {expected}, got {got}. {fix}"
        # Text from a file may hold codes that a terminal obeys.
        super().__init__(without_secrets(_CONTROL_CHARACTERS.sub(" ", line)))

    @classmethod
    def from_message(cls, text: str) -> BadInput:
        """Rebuilds the error from its message, for example one that a Beam worker raised."""
        error = cls.__new__(cls)
        error.args = (text,)
        return error


def without_secrets(text: str) -> str:
    """Masks the user and password of URLs, and the values of keys such as `--s3_secret_access_key=`."""
    return _SECRET_KEY.sub(r"\1***", _USER_OF_A_URL.sub("***", text))
