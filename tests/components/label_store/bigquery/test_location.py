from __future__ import annotations

import pytest

from components.label_store.bigquery.location import parse_location
from components.label_store.schemes import open_store
from eventlog.errors import BadInput

FULL_URI = (
    "my-project/labels_eu?staging=gs://bucket/labels&location=EU&retention_days=90"
    "&label.team=ranking&label.cost-centre=42"
)


def test_a_location_parses_every_key_and_gives_the_same_uri():
    location = parse_location(FULL_URI)
    assert (location.project, location.dataset, location.location) == ("my-project", "labels_eu", "EU")
    assert (location.staging, location.retention_days) == ("gs://bucket/labels", 90)
    assert location.billing_labels == {"team": "ranking", "cost-centre": "42"}
    assert location.table("labels") == "my-project.labels_eu.labels"
    assert not location.is_emulator
    assert parse_location(location.uri.removeprefix("bigquery://")) == location


def test_a_plain_http_endpoint_is_an_emulator():
    text = "p-1/d?staging=/tmp/s&endpoint=http://127.0.0.1:9050&read_endpoint=127.0.0.1:9060"
    location = parse_location(text)
    assert location.is_emulator
    assert location.client()._credentials.token is None, "no credentials ever go over plain HTTP"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "proj/d`; DROP TABLE x?staging=/s",
            "expected a dataset of letters, digits and _, got 'd`; DROP TABLE x'",
        ),
        ("Proj/d?staging=/s", "expected the id of a project, got 'Proj'"),
        ("/d?staging=/s", "expected the id of a project, got ''"),
        ("proj/d", "expected staging=gs://BUCKET/PREFIX or an absolute folder, got ''"),
        ("proj/d?staging=here", "expected staging=gs://BUCKET/PREFIX or an absolute folder, got 'here'"),
        (
            "proj/d?staging=s3://b/p",
            "expected staging=gs://BUCKET/PREFIX or an absolute folder, got 's3://b/p'",
        ),
        ("proj/d?stagin=/s", "got 'stagin'. Did you mean staging?"),
        ("proj/d?staging=/s&location=E U", "expected a location such as EU, got 'E U'"),
        ("proj/d?staging=/s&retention_days=0", "expected retention_days of at least 1, got '0'"),
        ("proj/d?staging=/s&retention_days=ten", "expected retention_days of at least 1, got 'ten'"),
        ("proj/d?staging=/s&endpoint=127.0.0.1:9050", "expected endpoint=http"),
        ("proj/d?staging=/s&endpoint=http://h:1", "expected read_endpoint=host:port with an http: endpoint"),
        ("proj/d?staging=/s&read_endpoint=h:1", "expected read_endpoint=host:port with an http: endpoint"),
        ("proj/d?staging=/s&sink=beam", "label.<key>, got 'sink'. Remove it."),
        ("proj/d?staging=/s&label.Team=a", "expected a billing label's key in lower case, got 'Team'"),
        ("proj/d?staging=/s&label.team=A", "expected a billing label's value in lower case, got 'A'"),
    ],
)
def test_a_malformed_uri_is_refused(text, message):
    with pytest.raises(BadInput) as refused:
        open_store(f"bigquery://{text}")
    assert message in str(refused.value)
    assert str(refused.value).startswith(f"store 'bigquery://{text}': ")
