"""Pauses of JobRunner, with a client that gives fixed answers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from google.api_core import exceptions

from components.label_store.bigquery import jobs
from components.label_store.bigquery.jobs import JobRunner


def test_the_pauses_before_a_failed_job_runs_again_double_from_two_seconds(monkeypatch):
    pauses, job_ids = [], []
    monkeypatch.setattr(jobs.time, "sleep", pauses.append)

    def submit(job_id: str) -> SimpleNamespace:
        job_ids.append(job_id)
        return SimpleNamespace(state="DONE", error_result={"reason": "jobRateLimitExceeded", "message": ""})

    with pytest.raises(RuntimeError, match=r"BigQuery job load failed: .*jobRateLimitExceeded"):
        JobRunner(SimpleNamespace()).run_once("load", submit)
    assert job_ids == [f"load_{run}" for run in range(6)]
    assert len(pauses) == 5
    assert all(2**run <= pause <= 2 * 2**run for run, pause in enumerate(pauses))


def test_a_conflict_without_a_job_is_submitted_again_until_the_deadline(monkeypatch):
    monkeypatch.setattr(jobs, "_DEADLINE_SECONDS", 0.2)
    job_ids = []

    def submit(job_id: str) -> None:
        job_ids.append(job_id)
        assert len(job_ids) < 100, "submitted again without a pause"
        raise exceptions.Conflict("the id is in use")

    def get_job(_job_id: str, retry: None) -> None:
        raise exceptions.NotFound("no such job")

    with pytest.raises(TimeoutError, match="the BigQuery job was not done within"):
        JobRunner(SimpleNamespace(get_job=get_job)).run_once("load", submit)
    assert len(job_ids) > 1
