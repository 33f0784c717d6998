import pickle

import pytest

from eventlog.checks import EmptySpan
from eventlog.errors import BadInput, without_secrets


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


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("https://ann:s3cret@host:1/x?a=b", "https://***@host:1/x?a=b"),
        ("s3://KEY:SECRET@bucket/labels", "s3://***@bucket/labels"),
        ("--s3_secret_access_key=abc --runner=Flink", "--s3_secret_access_key=*** --runner=Flink"),
        ("p/d?Password=a%20b&staging=/s", "p/d?Password=***&staging=/s"),
        ("('--api_token=abc', '--x=1')", "('--api_token=***', '--x=1')"),
        ("postgres://u:p@ss@host/db", "postgres://***@host/db"),
        ("s3://k:a/b@host and s3://k:c/d@e@host", "s3://***@host and s3://***@host"),
        ("https://host:1/x and ann@example.org", "https://host:1/x and ann@example.org"),
        ("password: x, user: ann", "password: ***, user: ann"),
        ("{'api_key': 'a b', \"Token\": \"c\"}", "{'api_key': ***, \"Token\": ***}"),
        ("gs://bucket/labels, ann@example.org", "gs://bucket/labels, ann@example.org"),
    ],
)
def test_users_of_urls_and_values_of_secret_keys_are_masked(text: str, masked: str) -> None:
    assert without_secrets(text) == masked


def test_a_key_at_the_end_of_a_part_has_no_value_to_mask() -> None:
    error = BadInput("unknown key", where="a.yaml: password", expected="a known key", got="token", fix="Fix.")
    assert str(error) == "a.yaml: password: unknown key: expected a known key, got token. Fix."


def test_every_part_of_the_message_is_masked() -> None:
    secret = "https://ann:s3cret@host"
    error = BadInput(secret, where=secret, expected=secret, got=secret, fix=secret)
    assert "s3cret" not in str(error) and str(error).count("***@host") == 5
