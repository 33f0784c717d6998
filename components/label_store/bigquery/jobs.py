"""Runs each BigQuery job exactly once, even if the server's answers are lost.

The client chooses the id of each job. If the answer to a request is lost, the client looks up the job by its
id. A job runs again, under a new id, only if the previous attempt is DONE and failed for a transient reason.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import random
import time
import uuid
from collections.abc import Callable
from typing import Any

import requests
from google.api_core import exceptions
from google.cloud import bigquery

_LOG = logging.getLogger(__name__)
_ATTEMPTS = 6
_DEADLINE_SECONDS = 900.0
_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 10.0

TRANSIENT = (
    exceptions.ServerError,
    exceptions.TooManyRequests,
    exceptions.RetryError,
    requests.exceptions.ConnectionError,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.Timeout,
    ConnectionError,
)
"""Errors that do not say whether the server has done the work."""
_TRANSIENT_REASONS = frozenset(
    {
        "backendError",
        "internalError",
        "jobBackendError",
        "jobInternalError",
        "jobRateLimitExceeded",
        "rateLimitExceeded",
        "stopped",
        "tableUnavailable",
    }
)
"""Reasons of failure after which a job may succeed in another attempt."""
_CONFLICT = "Could not serialize access"
"""BigQuery's message if two statements change a table at once. The failed statement has changed nothing."""


@dataclasses.dataclass(frozen=True)
class JobRunner:
    """Submits jobs and waits until they are done.

    Attributes:
        client: client of the REST interface.
    """

    client: bigquery.Client

    def run_once(self, job_id: str, submit: Callable[[str], Any]) -> Any:
        """Runs one job until it is done.

        Args:
            job_id: prefix of the attempts' ids. A second call with the same prefix does not start a second
                job, not even from another process.
            submit: function that submits the job under the given id, without retries.

        Returns:
            The successful job.

        Raises:
            RuntimeError: if the job failed for a reason that is not transient, or in every attempt.
            TimeoutError: if the deadline has passed; the job may still be running.
        """
        end = time.monotonic() + _DEADLINE_SECONDS
        failure: Any = None
        for attempt in range(_ATTEMPTS):
            attempt_id = f"{job_id}_{attempt}"
            job = None
            while job is None:  # A job that the server does not know has never run: submit it again.
                job = self._wait(attempt_id, self._submit(attempt_id, submit, end), end)
            failure = job.error_result
            if not failure:
                return job
            if failure.get("reason") not in _TRANSIENT_REASONS and _CONFLICT not in str(
                failure.get("message")
            ):
                break
            _LOG.info("%s failed and runs again: %s", attempt_id, failure)
            _pause(attempt, end)
        raise RuntimeError(f"BigQuery job {job_id} failed: {failure}.")

    def run_statement(self, sql: str, config: bigquery.QueryJobConfig) -> Any:
        """Runs an SQL statement exactly once; returns the successful job."""
        submit = functools.partial(self.client.query, sql, job_config=config, retry=None, job_retry=None)
        return self.run_once(f"rankdistill_{uuid.uuid4().hex}", lambda job_id: submit(job_id=job_id))

    def _submit(self, attempt_id: str, submit: Callable[[str], Any], end: float) -> Any:
        turn, job = 0, None
        while job is None:
            try:
                return submit(attempt_id)
            except exceptions.Conflict:
                _LOG.info("%s exists already; looking it up", attempt_id)
            except TRANSIENT as error:
                _LOG.info("%s: %s; looking it up", attempt_id, type(error).__name__)
                turn += 1
                _pause(turn, end)
            job = self._find(attempt_id, end)
        return job

    def _find(self, attempt_id: str, end: float) -> Any:
        """Returns the job, or None if the server does not know it."""
        turn = 0
        while True:
            try:
                return self.client.get_job(attempt_id, retry=None)
            except exceptions.NotFound:
                return None
            except TRANSIENT:
                turn += 1
                _pause(turn, end)

    def _wait(self, attempt_id: str, job: Any, end: float) -> Any:
        turn = 0
        while job is not None and job.state != "DONE":
            _pause(turn, end)
            turn += 1
            job = self._find(attempt_id, end)
        return job


def _pause(turn: int, end: float) -> None:
    pause = min(_FIRST_PAUSE_SECONDS * 2 ** min(turn, 16), _LONGEST_PAUSE_SECONDS) * random.uniform(0.5, 1.0)
    if time.monotonic() + pause > end:
        raise TimeoutError(f"BigQuery did not answer within {_DEADLINE_SECONDS:.0f} s.")
    time.sleep(pause)
