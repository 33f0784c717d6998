import pickle

from eventlog.checks import EmptySpan
from eventlog.errors import BadInput


def refusal(got: str) -> str:
    return str(BadInput("wrong value", where="a.yaml: key", expected="text", got=got, fix="Correct it."))


def test_a_message_is_one_line() -> None:
    assert refusal("one\ntwo") == "a.yaml: key: wrong value: expected text, got one two. Correct it."


def test_characters_that_cannot_be_printed_are_escaped() -> None:
    assert "got \\r\\x1b[1m\\u2028\\ud800. " in refusal("\r\x1b[1m\u2028\ud800")
    assert "got é 日本. " in refusal("é 日本")


def test_an_error_keeps_its_message_on_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(EmptySpan.from_message("log: no rows.")))
    assert isinstance(error, EmptySpan)
    assert str(error) == "log: no rows."
