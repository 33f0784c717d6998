"""BigQuery jobs that run exactly once, although answers get lost.

A job has an id that we choose. Whatever the answer to its submission, the id tells later whether the server
has it: a 409, a 503 and a cut connection all lead to looking it up. A new attempt gets a new id, and is made
only when the former one is DONE and failed for a reason that may pass.
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

TRANSIENT = (
    exceptions.ServerError,
    exceptions.TooManyRequests,
    exceptions.RetryError,
    requests.exceptions.ConnectionError,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.Timeout,
    ConnectionError,
)
"""After these nobody knows whether the server did what it was asked to do."""
_PASSING = frozenset(
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
"""Reasons of a failed job after which the same job may succeed."""
_CONFLICT = "Could not serialize access"
"""How BigQuery words that two changing statements met on one table; the loser did nothing."""


@dataclasses.dataclass(frozen=True)
class JobRunner:
    """Submits jobs and sees them through.

    Attributes:
        client: of the REST interface.
        attempts: how often a job that failed for a passing reason is run.
        deadline_seconds: how long one call may take.
        first_pause_seconds: pause after the first fault; it doubles up to `longest_pause_seconds`.
        longest_pause_seconds: see above.
    """

    client: bigquery.Client
    attempts: int = 6
    deadline_seconds: float = 900.0
    first_pause_seconds: float = 0.02
    longest_pause_seconds: float = 10.0

    def run_once(self, job_id: str, submit: Callable[[str], Any]) -> Any:
        """Runs one job to its end.

        Args:
            job_id: base of the ids of its attempts; the same base means the same job, also in another
                process, and finds what was done under it.
            submit: submits the job under the id it is given, without retries of its own.

        Returns:
            The successful job.

        Raises:
            RuntimeError: if the job failed for good.
            TimeoutError: if the deadline passed; the job may still be running.
        """
        end = time.monotonic() + self.deadline_seconds
        failure: Any = None
        for attempt in range(self.attempts):
            attempt_id = f"{job_id}_{attempt}"
            job = None
            while job is None:  # A server that has lost the job has not done it.
                job = self._wait(attempt_id, self._submit(attempt_id, submit, end), end)
            failure = job.error_result
            if not failure:
                return job
            if failure.get("reason") not in _PASSING and _CONFLICT not in str(failure.get("message")):
                break
            _LOG.info("%s failed and is run again: %s", attempt_id, failure)
            self._pause(attempt, end)
        raise RuntimeError(f"BigQuery job {job_id} failed: {failure}.")

    def run_statement(self, sql: str, config: bigquery.QueryJobConfig) -> Any:
        """Runs a statement once; no two calls are the same job, whatever their text."""
        submit = functools.partial(self.client.query, sql, job_config=config, retry=None, job_retry=None)
        return self.run_once(f"rankdistill_{uuid.uuid4().hex}", lambda job_id: submit(job_id=job_id))

    def _submit(self, attempt_id: str, submit: Callable[[str], Any], end: float) -> Any:
        turn, found = 0, None
        while found is None:
            try:
                return submit(attempt_id)
            except exceptions.Conflict:
                _LOG.info("%s is there already; looked up", attempt_id)
            except TRANSIENT as error:
                _LOG.info("%s: %s; looked up", attempt_id, type(error).__name__)
                turn += 1
                self._pause(turn, end)
            found = self._find(attempt_id, end)
        return found

    def _find(self, attempt_id: str, end: float) -> Any:
        """The job, or None if the server says that there is none."""
        turn = 0
        while True:
            try:
                return self.client.get_job(attempt_id, retry=None)
            except exceptions.NotFound:
                return None
            except TRANSIENT:
                turn += 1
                self._pause(turn, end)

    def _wait(self, attempt_id: str, job: Any, end: float) -> Any:
        turn = 0
        while job is not None and job.state != "DONE":
            self._pause(turn, end)
            turn += 1
            job = self._find(attempt_id, end)
        return job

    def _pause(self, turn: int, end: float) -> None:
        pause = min(self.first_pause_seconds * 2 ** min(turn, 16), self.longest_pause_seconds)
        pause *= random.uniform(0.5, 1.0)
        if time.monotonic() + pause > end:
            raise TimeoutError(f"BigQuery did not answer within {self.deadline_seconds:.0f} s.")
        time.sleep(pause)
