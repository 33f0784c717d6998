"""Runs BigQuery jobs so that each takes effect exactly once, even if the server's answers are lost.

The client chooses the id of each job. If the answer to a request is lost, the client looks up the job by its
id. A job runs again, under a new id, only if the previous run is DONE and failed for a transient reason.
"""

from __future__ import annotations

import dataclasses
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
_MAX_RUNS = 6
_DEADLINE_SECONDS = 900.0
_REQUEST_PAUSES = (0.02, 10.0)
"""First and longest pause between two requests about the same job, in seconds."""
_RUN_PAUSES = (2.0, 32.0)
"""First and longest pause before a failed job runs again, in seconds.

Longer than `_REQUEST_PAUSES`, because rate limits and server faults last for seconds.
"""

TRANSIENT_ERRORS = (
    exceptions.ServerError,
    exceptions.TooManyRequests,
    exceptions.RetryError,
    requests.exceptions.ConnectionError,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.Timeout,
    ConnectionError,
)
"""Errors after which the client does not know whether the server has done the work."""
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
"""Reasons of failure after which a job may succeed if it runs again."""
_CONFLICT_MESSAGE = "Could not serialize access"
"""BigQuery's message if two statements change a table at once. The failed statement has changed nothing."""


@dataclasses.dataclass(frozen=True)
class JobRunner:
    """Submits jobs and waits until they are done.

    Attributes:
        client: client of the REST interface.
    """

    client: bigquery.Client

    def run_once(self, id_prefix: str, submit: Callable[[str], Any]) -> Any:
        """Runs one job until it succeeds.

        Args:
            id_prefix: job id without the number of the run. A second call with the same prefix does not start
                a second job, not even from another process.
            submit: function that submits the job under the given id, without retries.

        Returns:
            The successful job.

        Raises:
            RuntimeError: if the job failed for a reason that is not transient, or failed `_MAX_RUNS` times.
            TimeoutError: if `_DEADLINE_SECONDS` have passed; the job may still be running.
        """
        deadline = time.monotonic() + _DEADLINE_SECONDS
        failure: Any = None
        for run in range(_MAX_RUNS):
            job_id = f"{id_prefix}_{run}"
            job = None
            while job is None:  # A job that the server does not know has never run: submit it again.
                job = self._wait(job_id, self._submit(job_id, submit, deadline), deadline)
            failure = job.error_result
            if not failure:
                return job
            is_conflict = _CONFLICT_MESSAGE in str(failure.get("message"))
            if failure.get("reason") not in _TRANSIENT_REASONS and not is_conflict:
                break
            _LOG.info("job %s failed for a transient reason: %s", job_id, failure)
            if run < _MAX_RUNS - 1:
                _pause(run, deadline, _RUN_PAUSES)
        raise RuntimeError(f"BigQuery job {id_prefix} failed: {failure}.")

    def run_statement(self, sql: str, config: bigquery.QueryJobConfig) -> Any:
        """Runs an SQL statement exactly once; returns the successful job."""

        def submit(job_id: str) -> Any:
            return self.client.query(sql, job_id=job_id, job_config=config, retry=None, job_retry=None)

        return self.run_once(f"rankdistill_{uuid.uuid4().hex}", submit)

    def _submit(self, job_id: str, submit: Callable[[str], Any], deadline: float) -> Any:
        """Submits the job, unless the server has a job with this id already; returns the job."""
        turn, job = 0, None
        while job is None:
            try:
                return submit(job_id)
            except exceptions.Conflict:
                _LOG.info("job %s exists already; looking it up", job_id)
            except TRANSIENT_ERRORS as error:
                _LOG.info("job %s: no clear answer (%s); looking it up", job_id, type(error).__name__)
            _pause(turn, deadline)
            turn += 1
            job = self._find(job_id, deadline)
        return job

    def _find(self, job_id: str, deadline: float) -> Any:
        """Returns the job, or None if the server does not know it."""
        turn = 0
        while True:
            try:
                return self.client.get_job(job_id, retry=None)
            except exceptions.NotFound:
                return None
            except TRANSIENT_ERRORS:
                turn += 1
                _pause(turn, deadline)

    def _wait(self, job_id: str, job: Any, deadline: float) -> Any:
        """Returns the job when it is DONE, or None if the server does not know it."""
        turn = 0
        while job is not None and job.state != "DONE":
            _pause(turn, deadline)
            turn += 1
            job = self._find(job_id, deadline)
        return job


def _pause(turn: int, deadline: float, limits: tuple[float, float] = _REQUEST_PAUSES) -> None:
    """Sleeps, twice as long in each turn, with jitter. Raises TimeoutError instead of passing `deadline`.

    Args:
        turn: 0 for the first pause.
        deadline: latest end of the pause, in seconds of the monotonic clock.
        limits: first and longest pause, in seconds.
    """
    first, longest = limits
    seconds = min(first * 2 ** min(turn, 16), longest)
    seconds *= random.uniform(0.5, 1.0)
    if time.monotonic() + seconds > deadline:
        raise TimeoutError(f"the BigQuery job was not done within {_DEADLINE_SECONDS:.0f} s.")
    time.sleep(seconds)
