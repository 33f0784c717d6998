"""Starts local-bigquery with fault injection and job recovery; runs in a separate virtual environment.

Job recovery: if an earlier server process was killed, this process marks the unfinished jobs as failed.

Fault injection: `POST /_faults` replaces the rules with a list such as:

    [{"path": regex, "method": "POST", "status": 503, "times": 1, "p": 1.0, "when": "before", "drop": false}]

All keys are optional; these values are the defaults, except that without "path" or "method" every path or
method matches. The first matching rule is applied with probability "p", at most "times" times. With "when":
"after", the server does the work, but the client gets the fault instead of the answer. With "drop": true, the
server cuts the connection instead of answering with "status". "status" is 400, 409, 412, 429, 500 or 503.

`GET /_faults` returns the rules. A rule that was applied has its number of "hits"; its
"times" is then the number that is left.

`POST /_drop_results` deletes the results of all queries: many stored results slow down later statements.
BigQuery deletes its results after a day.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import threading
from pathlib import Path

import uvicorn
from local_bigquery.app import app
from local_bigquery.engine import database
from local_bigquery.grpc import server
from local_bigquery.jobs import store
from local_bigquery.settings import settings

_REASONS = {
    400: ("invalid", "INVALID_ARGUMENT"),
    409: ("duplicate", "ALREADY_EXISTS"),
    412: ("conditionNotMet", "FAILED_PRECONDITION"),
    429: ("rateLimitExceeded", "RESOURCE_EXHAUSTED"),
    500: ("internalError", "INTERNAL"),
    503: ("backendError", "UNAVAILABLE"),
}
_LOCK = threading.Lock()


class FaultInjector:
    """ASGI middleware that injects faults into requests that match a rule."""

    def __init__(self, app) -> None:
        self._app = app
        self._rules: list[dict] = []

    async def __call__(self, scope, receive, send) -> None:
        """Serves one request, or injects a fault into it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] == "/_faults":
            await self._serve_rules(scope, receive, send)
        elif scope["path"] == "/_drop_results":
            drop_results()
            await _answer(send, 200, {})
        else:
            rule = self._rule_to_apply(scope["path"], scope["method"])
            if rule is None:
                await self._app(scope, receive, send)
            else:
                await self._inject(rule, scope, receive, send)

    def _rule_to_apply(self, path: str, method: str) -> dict | None:
        """Returns a copy of the first rule that applies to a request, and counts its hit."""
        with _LOCK:
            for rule in self._rules:
                matches = re.search(rule.get("path", "."), path) and rule.get("method", method) == method
                if matches and rule.get("times", 1) > 0 and random.random() < rule.get("p", 1.0):
                    rule["times"] = rule.get("times", 1) - 1
                    rule["hits"] = rule.get("hits", 0) + 1
                    return dict(rule)
        return None

    async def _inject(self, rule: dict, scope, receive, send) -> None:
        if rule.get("when") == "after":

            async def discard(_message) -> None:
                """Discards a part of the answer."""

            await self._app(scope, receive, discard)
        if rule.get("drop"):
            # The connection is cut here, because an exception would make uvicorn answer with status 500.
            send.__self__.transport.abort()
            return
        status = rule.get("status", 503)
        reason, name = _REASONS[status]
        error = {"reason": reason, "message": f"injected {reason}", "domain": "global"}
        body = {"error": {"code": status, "message": error["message"], "status": name, "errors": [error]}}
        await _answer(send, status, body)

    async def _serve_rules(self, scope, receive, send) -> None:
        """Replaces the rules if the method is POST; answers with the current rules."""
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        with _LOCK:
            if scope["method"] == "POST":
                self._rules = json.loads(body)
            rules = [dict(rule) for rule in self._rules]
        await _answer(send, 200, rules)


async def _answer(send, status: int, body) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


def fail_unfinished_jobs() -> None:
    """Marks the unfinished jobs of a killed server process as failed, as BigQuery does."""
    unfinished = database.fetch("SELECT project_id, job_id FROM emulator.jobs WHERE state <> 'DONE'")
    error = {"reason": "backendError", "message": "The server was restarted."}
    for project, job in unfinished:
        status = {"state": "DONE", "errorResult": error, "errors": [error]}
        store.save(store.load(project, job).replace(status=status))


def drop_results() -> None:
    """Deletes the results of all earlier queries."""
    for (name,) in database.fetch("SELECT table_name FROM duckdb_tables() WHERE schema_name = '_results'"):
        database.execute(f"DROP TABLE {database.quote('emulator', '_results', name)}")


def main() -> None:
    """Serves until the process is killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--grpc-port", type=int, required=True)
    parser.add_argument("--project", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--threads", type=int, help="threads of DuckDB; default: all cores")
    options = parser.parse_args()
    settings.bigquery_host, settings.bigquery_port = "127.0.0.1", options.port
    settings.grpc_port = options.grpc_port
    settings.default_project_id, settings.data_dir = options.project, options.data
    sys.modules.setdefault("pandas", None)  # type: ignore[arg-type]  # DuckDB tries to import it at each statement.
    if options.threads is not None:
        database.execute(f"SET threads = {options.threads}")
    fail_unfinished_jobs()
    grpc_server, _ = server.start("127.0.0.1", options.grpc_port)
    uvicorn.run(FaultInjector(app), host="127.0.0.1", port=options.port, log_level="error")
    grpc_server.stop(None)


if __name__ == "__main__":
    main()
