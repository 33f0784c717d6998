"""Submission against a server that speaks the API."""

import subprocess
import sys

import pytest
import yaml

from eventlog.errors import BadInput
from pipeline.kubeflow.submission import Pipelines, read_package
from tests.conftest import REPOSITORY
from tests.pipeline.kubeflow.api_server import ApiServer

ROOT = "s3://bucket/runs"
SUBMIT = REPOSITORY / "kubeflow" / "submit.py"


@pytest.fixture
def server():
    server = ApiServer()
    yield server
    server.stop()


@pytest.fixture
def client(server):
    return Pipelines(server.url, service_account="rankdistill", retry_seconds=0.01)


def write_pipeline(folder, name="world-teacher", spans=True, note=""):
    spec = {"pipelineInfo": {"name": name}, "root": {"dag": {"tasks": {}}}, "note": note}
    spec["defaultPipelineRoot"] = ROOT
    if spans:
        spec["root"]["inputDefinitions"] = {"parameters": {"span": {"parameterType": "NUMBER_INTEGER"}}}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(spec))
    return read_package(path)


def test_a_pipeline_is_uploaded_once_and_again_as_a_version_when_it_has_changed(server, client, tmp_path):
    package = write_pipeline(tmp_path)
    pipeline_id, first, new = client.upload(package)
    assert new
    assert client.upload(package) == (pipeline_id, first, False)

    changed = write_pipeline(tmp_path, note="other")
    same_pipeline, second, new = client.upload(changed)
    assert (same_pipeline, new) == (pipeline_id, True)
    assert second != first
    versions = server.pipelines[pipeline_id]["versions"]
    assert [each["display_name"] for each in versions.values()] == [
        "world-teacher", package.version, changed.version,
    ]  # fmt: skip
    assert all(each["has"] for each in versions.values()), "the YAML itself has been sent"


def test_a_schedule_runs_the_next_span_never_two_at_a_time_and_replaces_the_one_before(
    server, client, tmp_path
):
    other = write_pipeline(tmp_path, name="world-student")
    client.schedule(other, "0 0 * * * *")
    package = write_pipeline(tmp_path)
    first, replaced = client.schedule(package, "0 */10 * * * *")
    assert replaced == 0

    second, replaced = client.schedule(write_pipeline(tmp_path, note="new"), "0 */5 * * * *")
    assert replaced == 1
    assert first not in server.recurring
    kept = server.recurring[second]
    assert kept["trigger"] == {"cron_schedule": {"cron": "0 */5 * * * *"}}
    assert (kept["max_concurrency"], kept["no_catchup"], kept["mode"]) == ("1", True, "ENABLE")
    assert kept["runtime_config"] == {"parameters": {}, "pipeline_root": ROOT}
    assert kept["service_account"] == "rankdistill"
    newest = list(server.pipelines[kept["pipeline_version_reference"]["pipeline_id"]]["versions"])[-1]
    assert kept["pipeline_version_reference"]["pipeline_version_id"] == newest
    assert len(server.recurring) == 2
    assert len(server.experiments) == 1


def test_a_run_takes_the_span_that_it_is_given(server, client, tmp_path):
    package = write_pipeline(tmp_path)
    assert client.run(package, 7) == "run1"
    client.run(package)

    assert [run["runtime_config"]["parameters"] for run in server.runs] == [{"span": 7}, {}]
    assert {run["service_account"] for run in server.runs} == {"rankdistill"}
    assert {run["runtime_config"]["pipeline_root"] for run in server.runs} == {ROOT}
    with pytest.raises(BadInput, match="no such parameter"):
        client.run(write_pipeline(tmp_path, name="world-bootstrap", spans=False), 7)


def test_a_backfill_runs_span_after_span_and_stops_at_the_first_that_fails(server, client, tmp_path):
    package, said = write_pipeline(tmp_path), []
    server.states = ["RUNNING", "SUCCEEDED", "SUCCEEDED", "FAILED"]
    with pytest.raises(BadInput, match=r"world-teacher, span 5: .* got FAILED, run run3"):
        client.backfill(package, range(3, 9), said.append, poll_seconds=0.01)

    assert [run["runtime_config"]["parameters"]["span"] for run in server.runs] == [3, 4, 5]
    assert len(said) == 2


@pytest.mark.parametrize("status", [429, 503])
def test_what_the_server_cannot_serve_now_is_asked_again(server, client, tmp_path, status):
    server.fail = [status, status, status]
    _, _, new = client.upload(write_pipeline(tmp_path))

    assert new
    assert server.requests[:4] == ["GET /pipelines"] * 4


def test_a_server_that_stays_away_ends_in_one_line(server, client, tmp_path):
    server.fail = [503] * 100
    with pytest.raises(BadInput, match="got 503 Service Unavailable: on purpose"):
        client.upload(write_pipeline(tmp_path))
    assert len(server.requests) == 6


def test_without_a_token_a_server_that_wants_one_refuses_in_one_line(server, tmp_path):
    server.token = "secret"
    package = write_pipeline(tmp_path)
    with pytest.raises(BadInput, match=r"got 401 Unauthorized: no valid token\. Give a token with --token"):
        Pipelines(server.url).upload(package)

    assert Pipelines(server.url, token="secret").upload(package)[2]


def test_a_host_that_is_something_else_is_told_by_its_404(server, tmp_path):
    with pytest.raises(BadInput, match=r"404 Not Found.*Look at --host"):
        Pipelines(f"{server.url}/elsewhere").upload(write_pipeline(tmp_path))


def test_what_may_have_been_done_is_not_asked_twice(server, client, tmp_path):
    package = write_pipeline(tmp_path)
    client.upload(package)
    asked = len(server.requests)
    server.fail = [502]
    with pytest.raises(BadInput, match="got 502 Bad Gateway"):
        client.run(package)
    assert len(server.requests) == asked + 1


def test_a_login_page_is_no_kubeflow(server, client, tmp_path):
    server.login_page = True
    with pytest.raises(BadInput, match=r"no answer of Kubeflow Pipelines.*whether a login"):
        client.upload(write_pipeline(tmp_path))


def test_a_host_that_is_not_there_ends_in_one_line(server, tmp_path):
    server.stop()
    with pytest.raises(BadInput, match="no answer of Kubeflow Pipelines"):
        Pipelines(server.url, retries=1, retry_seconds=0.01).upload(write_pipeline(tmp_path))


def test_what_is_no_pipeline_is_refused_before_anything_is_sent(server, client, tmp_path):
    path = tmp_path / "other.yaml"
    for text in ("a: 1", "pipelineInfo: {name: a}\nroot: text", ""):
        path.write_text(text)
        with pytest.raises(BadInput, match="not a compiled pipeline"):
            read_package(path)
    with pytest.raises(BadInput, match="FileNotFoundError"):
        read_package(tmp_path / "nothing.yaml")
    assert server.requests == []


def submit(*arguments):
    return subprocess.run(
        [sys.executable, str(SUBMIT), *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_the_script_submits_says_what_it_would_do_and_refuses_in_one_line(server, tmp_path):
    """One test: each start of the script imports TFX."""
    path = write_pipeline(tmp_path).path
    said = submit("--host", server.url, "--dry-run", "schedule", path, "--cron", "0 0 * * * *")
    assert (said.returncode, server.requests) == (0, [])
    assert "would schedule world-teacher at 0 0 * * * *" in said.stdout

    assert "uploaded" in submit("--host", server.url, "upload", path).stdout
    server.token = "secret"
    refused = submit("--host", server.url, "upload", path)
    assert refused.returncode == 2
    assert refused.stderr.startswith("submit.py: ")
    assert "Traceback" not in refused.stderr
    assert submit("--host", server.url, "schedule", path, "--cron", "daily").returncode == 2
