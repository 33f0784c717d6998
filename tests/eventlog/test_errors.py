import pytest

from eventlog.errors import BadInput, without_secrets


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("https://ann:s3cret@host:1/x?a=b", "https://***@host:1/x?a=b"),
        ("s3://KEY:SECRET@bucket/labels", "s3://***@bucket/labels"),
        ("--s3_secret_access_key=abc --runner=Flink", "--s3_secret_access_key=*** --runner=Flink"),
        ("p/d?Password=a%20b&staging=/s", "p/d?Password=***&staging=/s"),
        ("('--api_token=abc', '--x=1')", "('--api_token=***', '--x=1')"),
        ("gs://bucket/labels, ann@example.org", "gs://bucket/labels, ann@example.org"),
    ],
)
def test_users_of_urls_and_values_of_secret_keys_are_masked(text, masked):
    assert without_secrets(text) == masked


def test_every_part_of_the_message_is_masked():
    secret = "https://ann:s3cret@host"
    error = BadInput(secret, where=secret, expected=secret, got=secret, fix=secret)
    assert "s3cret" not in str(error) and str(error).count("***@host") == 5


def test_a_message_is_one_line_without_codes_for_a_terminal():
    error = BadInput("what", where="file", expected="a\r\nb", got="\x1b[2J\x9b\x07", fix="Repair it.")
    assert str(error).isprintable()
