"""The one error that means: the input is wrong, not the program."""

from __future__ import annotations


class BadInput(ValueError):
    """Input (configuration, events, labels, a model, the command line) that must be refused.

    The message is one line and complete: what is wrong and where, what was expected, what was found,
    what to do. The command line prints it alone, without a traceback, and exits with code 2.
    """

    def __init__(self, what: str, *, where: str, expected: str, got: str, fix: str) -> None:
        super().__init__(f"{where}: {what}: expected {expected}, got {got}. {fix}".replace("\n", " "))

    @classmethod
    def quoted(cls, text: str) -> BadInput:
        """One that was raised elsewhere, in a Beam worker say, and has arrived as text."""
        error = cls.__new__(cls)
        error.args = (text,)
        return error
