"""The error for wrong input, as opposed to a fault of the program."""

from __future__ import annotations


class BadInput(ValueError):
    """Wrong input: a configuration, events, labels, a model or a command line.

    The message is one complete line: where, what is wrong, what is expected, what the input has, what to do.
    The command line prints this line without a traceback and exits with code 2.
    """

    def __init__(self, what: str, *, where: str, expected: str, got: str, fix: str) -> None:
        super().__init__(f"{where}: {what}: expected {expected}, got {got}. {fix}".replace("\n", " "))

    @classmethod
    def from_message(cls, text: str) -> BadInput:
        """Rebuilds the error from its message, for example one that a Beam worker raised."""
        error = cls.__new__(cls)
        error.args = (text,)
        return error
