"""Points Beam's own BigQuery sink at the server here; it has no option for that."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import google.auth
from apache_beam.internal.gcp import auth
from apache_beam.io.gcp.internal.clients.bigquery import bigquery_v2_client
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from testing.bigquery_server import PROJECT


@contextlib.contextmanager
def pointed_at(server: Any) -> Iterator[bigquery.Client]:
    """While it lasts, Beam takes `server` for BigQuery, without credentials; yields a client of it."""
    api = bigquery_v2_client.BigqueryV2
    kept = api.BASE_URL, auth._Credentials._credentials, auth._Credentials._credentials_init
    default = google.auth.default
    google.auth.default = lambda *_, **__: (AnonymousCredentials(), PROJECT)
    adapter = auth._ApitoolsCredentialsAdapter(AnonymousCredentials())
    auth._Credentials._credentials, auth._Credentials._credentials_init = adapter, True
    api.BASE_URL = f"{server.endpoint}/bigquery/v2/"
    os.environ["BIGQUERY_EMULATOR_HOST"] = server.endpoint
    options = {"api_endpoint": server.endpoint}
    try:
        yield bigquery.Client(project=PROJECT, credentials=AnonymousCredentials(), client_options=options)
    finally:
        google.auth.default = default
        api.BASE_URL, auth._Credentials._credentials, auth._Credentials._credentials_init = kept
        del os.environ["BIGQUERY_EMULATOR_HOST"]
