"""Location of a BigQuery label store: parses and checks its URI, and opens clients."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import grpc
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, bigquery_storage
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

from eventlog.errors import BadInput

SCHEME = "bigquery"
LABELS, LABEL_SETS = "labels", "label_sets"
"""Names of the two tables, see `tables`."""

_PROJECT_PATTERN = re.compile(r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{2,61}")
_DATASET_PATTERN = re.compile(r"[A-Za-z0-9_]{1,1024}")
_LOCATION_PATTERN = re.compile(r"[A-Za-z0-9-]+")
_BILLING_KEY_PATTERN = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_BILLING_VALUE_PATTERN = re.compile(r"[a-z0-9_-]{0,63}")
_BILLING_PREFIX = "label."
_URI_KEYS = ("staging", "location", "retention_days", "endpoint", "read_endpoint")
_URI_FORM = "bigquery://PROJECT/DATASET?staging=gs://BUCKET/PREFIX"


@dataclasses.dataclass(frozen=True, kw_only=True)
class BigQueryLocation:
    """The dataset of a label store, the place for staged shards, and the endpoints of BigQuery.

    Attributes:
        project: Google Cloud project that owns the dataset and is billed.
        dataset: dataset of the tables `labels` and `label_sets`.
        staging: place to which workers write Parquet shards: `gs://bucket/prefix`, or a folder that all
            workers share with the process that publishes. If it is a folder, that process uploads the shards.
        location: region or multi-region of the dataset.
        retention_days: days after which BigQuery deletes rows of `labels`, counted from their event date.
            Rows of pinned sets are deleted too, unlike with `labels gc --retention-days`. None: never.
        endpoint: address of the REST interface; None for Google's. An `http:` address is an emulator, to
            which no credentials are sent.
        read_endpoint: address of an emulator's Storage Read API, `host:port`; None without an emulator.
        billing_labels: key → value, set on tables and jobs.
    """

    project: str
    dataset: str
    staging: str
    location: str = "US"
    retention_days: int | None = None
    endpoint: str | None = None
    read_endpoint: str | None = None
    billing_labels: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def uri(self) -> str:
        """The URI of this location, which `open_store` accepts."""
        values = {key: getattr(self, key) for key in _URI_KEYS if getattr(self, key) is not None}
        labels = {_BILLING_PREFIX + key: value for key, value in self.billing_labels.items()}
        return f"{SCHEME}://{self.project}/{self.dataset}?{urlencode({**values, **labels}, safe=':/')}"

    @property
    def is_emulator(self) -> bool:
        """Whether the endpoint is an emulator."""
        return self.endpoint is not None and self.endpoint.startswith("http:")

    def table(self, name: str) -> str:
        """Returns `project.dataset.name`, which is safe in SQL: `parse_location` has checked the parts."""
        return f"{self.project}.{self.dataset}.{name}"

    def client(self) -> bigquery.Client:
        """Opens a REST client with application default credentials, or without any for an emulator."""
        options = {"api_endpoint": self.endpoint} if self.endpoint else None
        credentials = AnonymousCredentials() if self.is_emulator else None  # type: ignore[no-untyped-call]
        return bigquery.Client(
            project=self.project, location=self.location, credentials=credentials, client_options=options
        )

    def read_client(self) -> bigquery_storage.BigQueryReadClient:
        """Opens a Storage Read API client, with the same credentials as `client`."""
        if not self.is_emulator:
            return bigquery_storage.BigQueryReadClient()
        channel = grpc.insecure_channel(self.read_endpoint, options=[("grpc.max_receive_message_length", -1)])
        transport = BigQueryReadGrpcTransport(channel=channel)
        return bigquery_storage.BigQueryReadClient(transport=transport)


def parse_location(text: str) -> BigQueryLocation:
    """Parses the part of a URI after `bigquery://`: `PROJECT/DATASET?key=value&…`.

    The keys are `staging`, `location`, `retention_days`, `endpoint` and `read_endpoint` (see
    `BigQueryLocation`), and `label.<key>` for each billing label.

    Raises:
        BadInput: if a part is missing, unknown or malformed.
    """
    path, _, query = text.partition("?")
    project, _, dataset = path.partition("/")
    values = dict(parse_qsl(query, keep_blank_values=True))
    billing = {
        key.removeprefix(_BILLING_PREFIX): values.pop(key)
        for key in list(values)
        if key.startswith(_BILLING_PREFIX)
    }
    for key in values:
        if key not in _URI_KEYS:
            close = difflib.get_close_matches(key, _URI_KEYS, n=1)
            hint = f"Did you mean {close[0]}?" if close else "Remove it."
            raise _location_error(text, f"one of {', '.join(_URI_KEYS)}, label.<key>", repr(key), hint)
    for key, value in billing.items():
        _require_form(text, _BILLING_KEY_PATTERN, key, "a billing label's key in lower case")
        _require_form(text, _BILLING_VALUE_PATTERN, value, "a billing label's value in lower case")
    _require_form(text, _PROJECT_PATTERN, project, "the id of a project")
    _require_form(text, _DATASET_PATTERN, dataset, "a dataset of letters, digits and _")
    _require_form(text, _LOCATION_PATTERN, values.get("location", "US"), "a location such as EU")
    retention = _parse_days(text, values.pop("retention_days", None))
    check_endpoints(f"store '{SCHEME}://{text}'", values.get("endpoint"), values.get("read_endpoint"))
    return BigQueryLocation(
        project=project,
        dataset=dataset,
        staging=_parse_staging(text, values.pop("staging", "")),
        retention_days=retention,
        billing_labels=billing,
        **values,  # type: ignore[arg-type]
    )


def _parse_staging(text: str, staging: str) -> str:
    if staging.startswith("gs://") and len(staging) > len("gs://"):
        return staging.rstrip("/")
    if not staging or "://" in staging or not Path(staging).is_absolute():
        raise _location_error(
            text, "staging=gs://BUCKET/PREFIX or an absolute folder", repr(staging), "Correct staging."
        )
    return staging.rstrip("/")


def _parse_days(text: str, value: str | None) -> int | None:
    if value is None:
        return None
    if not value.isdecimal() or int(value) < 1:
        raise _location_error(
            text,
            "retention_days of at least 1",
            repr(value),
            "Correct retention_days, or remove it to keep all rows.",
        )
    return int(value)


def check_endpoints(where: str, endpoint: str | None, read_endpoint: str | None) -> None:
    """Checks the addresses of an emulator; both None means BigQuery itself.

    Args:
        where: the URI, for the error message.
        endpoint: address of the REST interface.
        read_endpoint: address of the Storage Read API.

    Raises:
        BadInput: if `endpoint` is no http address, or only one of the two addresses is an emulator's.
    """
    wrong = None
    if endpoint is not None and not re.match(r"https?://[^/]+", endpoint):
        wrong = ("endpoint=http(s)://host:port", repr(endpoint), "Correct it.")
    elif (endpoint is not None and endpoint.startswith("http:")) != (read_endpoint is not None):
        wrong = (
            "read_endpoint=host:port with an http: endpoint, and only then", repr(read_endpoint),
            "Give endpoint and read_endpoint for an emulator; give neither for BigQuery.",
        )  # fmt: skip
    if wrong is not None:
        expected, got, fix = wrong
        raise BadInput("wrong endpoints", where=where, expected=expected, got=got, fix=fix)


def _require_form(text: str, form: re.Pattern[str], value: str, expected: str) -> None:
    if not form.fullmatch(value):
        raise _location_error(text, expected, repr(value), f"The URI's form is {_URI_FORM}.")


def _location_error(text: str, expected: str, got: str, fix: str) -> BadInput:
    return BadInput(
        "not a BigQuery label store", where=f"store '{SCHEME}://{text}'", expected=expected, got=got, fix=fix
    )
