"""Location of a BigQuery label store: parses and checks its URI, and opens clients."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import grpc
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, bigquery_storage
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

from eventlog.errors import BadInput

SCHEME = "bigquery"
LABELS, LABEL_SETS = "labels", "label_sets"

_PROJECT = re.compile(r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{2,61}")
_DATASET = re.compile(r"[A-Za-z0-9_]{1,1024}")
_LOCATION = re.compile(r"[A-Za-z0-9-]+")
_BILLING_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_BILLING_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_BILLING_PREFIX = "label."
_KEYS = ("staging", "location", "retention_days", "endpoint", "read_endpoint")
_SHAPE = "bigquery://PROJECT/DATASET?staging=gs://BUCKET/PREFIX"


@dataclasses.dataclass(frozen=True, kw_only=True)
class BigQueryLocation:
    """A dataset and its endpoints. Picklable: each worker opens its own clients.

    Attributes:
        project: Google Cloud project that owns the dataset and is billed.
        dataset: dataset of the tables `labels` and `label_sets`.
        staging: place of the Parquet shards before they are loaded: `gs://bucket/prefix`, or a folder that
            workers and driver share. The driver uploads shards from such a folder.
        location: region or multi-region of the dataset.
        retention_days: partition expiration of `labels`: BigQuery deletes rows that many days after their
            event date, also of pinned sets. None: never. `labels gc --retention-days` is another mechanism.
        endpoint: address of the REST interface, if it is not Google's. A plain `http:` address is an
            emulator; it gets no credentials.
        read_endpoint: address of an emulator's Storage Read API, `host:port`.
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
        """The URI of this location; `parse_location` parses it."""
        values = {key: getattr(self, key) for key in _KEYS if getattr(self, key) is not None}
        labels = {_BILLING_PREFIX + key: value for key, value in self.billing_labels.items()}
        return f"{SCHEME}://{self.project}/{self.dataset}?{urlencode({**values, **labels}, safe=':/')}"

    @property
    def is_emulator(self) -> bool:
        """Whether the endpoint is an emulator."""
        return self.endpoint is not None and self.endpoint.startswith("http:")

    def table(self, name: str) -> str:
        """Returns `project.dataset.table`. `parse_location` has checked the parts, so it is safe in SQL."""
        return f"{self.project}.{self.dataset}.{name}"

    def client(self) -> bigquery.Client:
        """Opens a REST client with application default credentials; an emulator gets none."""
        options = {"api_endpoint": self.endpoint} if self.endpoint else None
        credentials = AnonymousCredentials() if self.is_emulator else None  # type: ignore[no-untyped-call]
        return bigquery.Client(
            project=self.project, location=self.location, credentials=credentials, client_options=options
        )

    def read_client(self) -> bigquery_storage.BigQueryReadClient:
        """Opens a Storage Read API client with application default credentials; an emulator gets none."""
        if not self.is_emulator:
            return bigquery_storage.BigQueryReadClient()
        channel = grpc.insecure_channel(self.read_endpoint, options=[("grpc.max_receive_message_length", -1)])
        transport = BigQueryReadGrpcTransport(channel=channel)
        return bigquery_storage.BigQueryReadClient(transport=transport)


def parse_location(text: str) -> BigQueryLocation:
    """Parses the part of a URI after `bigquery://`: `PROJECT/DATASET?key=value&…`.

    Keys are the attributes of `BigQueryLocation`; `label.<key>=<value>` is a billing label.

    Raises:
        BadInput: if a part is missing, unknown or malformed.
    """
    path, _, query = text.partition("?")
    project, _, dataset = path.partition("/")
    values = dict(parse_qsl(query, keep_blank_values=True))
    billing = {
        key.removeprefix(_BILLING_PREFIX): values.pop(key) for key in list(values) if key.startswith("label.")
    }
    for key in values:
        if key not in _KEYS:
            close = difflib.get_close_matches(key, _KEYS, n=1)
            hint = f"Did you mean {close[0]}?" if close else "Remove it."
            raise _refused(text, f"one of {', '.join(_KEYS)}, label.<key>", repr(key), hint)
    for key, value in billing.items():
        _require(text, _BILLING_KEY, key, "a billing label's key in lower case")
        _require(text, _BILLING_VALUE, value, "a billing label's value in lower case")
    _require(text, _PROJECT, project, "the id of a project")
    _require(text, _DATASET, dataset, "a dataset of letters, digits and _")
    _require(text, _LOCATION, values.get("location", "US"), "a location such as EU")
    retention = _whole_days(text, values.pop("retention_days", None))
    _check_endpoints(text, values.get("endpoint"), values.get("read_endpoint"))
    return BigQueryLocation(
        project=project,
        dataset=dataset,
        staging=_staging(text, values.pop("staging", "")),
        retention_days=retention,
        billing_labels=billing,
        **values,  # type: ignore[arg-type]
    )


def _staging(text: str, staging: str) -> str:
    if staging.startswith("gs://") and len(staging) > len("gs://"):
        return staging.rstrip("/")
    if not staging or "://" in staging or not Path(staging).is_absolute():
        raise _refused(text, "staging=gs://BUCKET/PREFIX or an absolute folder", repr(staging), "Add it.")
    return staging.rstrip("/")


def _whole_days(text: str, value: str | None) -> int | None:
    if value is None:
        return None
    if not value.isdecimal() or int(value) < 1:
        raise _refused(text, "retention_days of at least 1", repr(value), "Correct it or leave it out.")
    return int(value)


def _check_endpoints(text: str, endpoint: str | None, read_endpoint: str | None) -> None:
    if endpoint is not None and not re.match(r"https?://[^/]+", endpoint):
        raise _refused(text, "endpoint=http(s)://host:port", repr(endpoint), "Correct it.")
    emulator = endpoint is not None and endpoint.startswith("http:")
    if emulator != (read_endpoint is not None):
        raise _refused(
            text,
            "read_endpoint=host:port with an http: endpoint, and only then",
            repr(read_endpoint),
            "Give endpoint and read_endpoint for an emulator; give neither for BigQuery.",
        )


def _require(text: str, form: re.Pattern[str], value: str, expected: str) -> None:
    if not form.fullmatch(value):
        raise _refused(text, expected, repr(value), f"The URI's form is {_SHAPE}.")


def _refused(text: str, expected: str, got: Any, fix: str) -> BadInput:
    return BadInput(
        "not a BigQuery label store", where=f"store '{SCHEME}://{text}'", expected=expected, got=got, fix=fix
    )
