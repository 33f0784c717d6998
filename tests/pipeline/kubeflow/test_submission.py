"""Submission to a test server with the API of Kubeflow Pipelines."""

import subprocess
import sys

import pytest
import yaml

from eventlog.errors import BadInput
from pipeline.kubeflow.submission import KubeflowClient, read_package
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
    return KubeflowClient(server.url, service_account="rankdistill", retry_seconds=0.01)


def write_pipeline(folder, name="world-teacher", spans=True, note=""):
    spec = {"pipelineInfo": {"name": name}, "root": {"dag": {"tasks": {}}}, "note": note}
    spec["defaultPipelineRoot"] = ROOT
    if spans:
        spec["root"]["inputDefinitions"] = {"parameters": {"span": {"parameterType": "NUMBER_INTEGER"}}}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(spec))
    return read_package(path)


def test_a_changed_pipeline_is_uploaded_as_a_new_version(server, client, tmp_path):
    package = write_pipeline(tmp_path)
    pipeline_id, first, new = client.upload(package)
    assert new
    assert client.upload(package) == (pipeline_id, first, False)

    changed = write_pipeline(tmp_path, note="other")
    same_pipeline, second, new = client.upload(changed)
    assert (same_pipeline, new) == (pipeline_id, True)
    assert second != first
    versions = server.pipelines[pipeline_id]["versions"]
    assert [version["display_name"] for version in versions.values()] == [
        "world-teacher", package.version, changed.version,
    ]  # fmt: skip
    assert all(version["has_spec"] for version in versions.values())


def test_a_schedule_runs_one_span_at_a_time_and_replaces_the_earlier_one(server, client, tmp_path):
    other = write_pipeline(tmp_path, name="world-student")
    client.schedule(other, "0 0 * * * *")
    package = write_pipeline(tmp_path)
    first, replaced = client.schedule(package, "0 */10 * * * *")
    assert replaced == 0

    second, replaced = client.schedule(write_pipeline(tmp_path, note="new"), "0 */5 * * * *")
    assert replaced == 1
    assert first not in server.recurring
    created = server.recurring[second]
    assert created["trigger"] == {"cron_schedule": {"cron": "0 */5 * * * *"}}
    assert (created["max_concurrency"], created["no_catchup"], created["mode"]) == ("1", True, "ENABLE")
    assert created["runtime_config"] == {"parameters": {}, "pipeline_root": ROOT}
    assert created["service_account"] == "rankdistill"
    newest = list(server.pipelines[created["pipeline_version_reference"]["pipeline_id"]]["versions"])[-1]
    assert created["pipeline_version_reference"]["pipeline_version_id"] == newest
    assert len(server.recurring) == 2
    assert len(server.experiments) == 1


def test_a_run_gets_its_span(server, client, tmp_path):
    package = write_pipeline(tmp_path)
    assert client.run(package, 7) == "run1"
    client.run(package)

    assert [run["runtime_config"]["parameters"] for run in server.runs] == [{"span": 7}, {}]
    assert {run["service_account"] for run in server.runs} == {"rankdistill"}
    assert {run["runtime_config"]["pipeline_root"] for run in server.runs} == {ROOT}
    with pytest.raises(BadInput, match="no such parameter"):
        client.run(write_pipeline(tmp_path, name="world-burn-in", spans=False), 7)


def test_a_backfill_runs_spans_in_order_and_stops_at_the_first_failure(server, client, tmp_path):
    package, lines = write_pipeline(tmp_path), []
    server.states = ["RUNNING", "SUCCEEDED", "SUCCEEDED", "FAILED"]
    with pytest.raises(BadInput, match=r"world-teacher, span 5: .* got FAILED, run run3"):
        client.backfill(package, range(3, 9), lines.append, poll_seconds=0.01)

    assert [run["runtime_config"]["parameters"]["span"] for run in server.runs] == [3, 4, 5]
    assert len(lines) == 2


def test_a_burn_in_is_not_scheduled(server, client, tmp_path):
    package = write_pipeline(tmp_path, name="world-burn-in", spans=False)
    with pytest.raises(BadInput, match="world-burn-in: not a span pipeline"):
        client.schedule(package, "0 0 * * * *")
    assert server.requests == []


@pytest.mark.parametrize("status", [429, 502, 503, 504, 0])
def test_a_read_is_retried(server, client, tmp_path, status):
    server.answers = {"GET /pipelines": [status, status, status]}
    _, _, new = client.upload(write_pipeline(tmp_path))

    assert new
    assert server.requests[:4] == ["GET /pipelines"] * 4


def test_waiting_for_a_run_survives_a_broken_connection(server, client, tmp_path):
    server.states = ["RUNNING"]
    server.answers = {"GET /runs/run1": [0]}
    client.wait(client.run(write_pipeline(tmp_path)), "world-teacher", poll_seconds=0.01)

    assert server.requests[-3:] == ["POST /runs", "GET /runs/run1", "GET /runs/run1"]


def test_a_creation_that_the_server_has_not_acted_on_is_retried(server, client, tmp_path):
    server.answers = {"POST /runs": [429]}
    client.run(write_pipeline(tmp_path))

    assert server.requests[-2:] == ["POST /runs"] * 2


def test_a_server_that_stays_unavailable_gives_a_one_line_error(server, client, tmp_path):
    server.fail = [503] * 100
    with pytest.raises(BadInput, match="got 503 Service Unavailable: on purpose"):
        client.upload(write_pipeline(tmp_path))
    assert len(server.requests) == 6


def test_a_missing_token_gives_a_one_line_error(server, tmp_path):
    server.token = "secret"
    package = write_pipeline(tmp_path)
    with pytest.raises(BadInput, match=r"got 401 Unauthorized: no valid token\. Give a token with --token"):
        KubeflowClient(server.url).upload(package)

    assert KubeflowClient(server.url, token="secret").upload(package)[2]


def test_a_404_points_to_the_host_option(server, tmp_path):
    with pytest.raises(BadInput, match=r"404 Not Found.*Check --host"):
        KubeflowClient(f"{server.url}/elsewhere").upload(write_pipeline(tmp_path))


@pytest.mark.parametrize(
    ("status", "error"),
    [(502, "got 502 Bad Gateway"), (503, "got 503 Service Unavailable"), (0, "no answer from Kubeflow")],
)
def test_a_creation_that_the_server_may_have_acted_on_is_not_retried(server, client, tmp_path, status, error):
    server.answers = {"POST /runs": [status]}
    with pytest.raises(BadInput, match=error):
        client.run(write_pipeline(tmp_path))
    assert len(server.runs) == 1


def test_a_login_page_is_not_kubeflow(server, client, tmp_path):
    server.login_page = True
    with pytest.raises(BadInput, match=r"no answer from Kubeflow Pipelines.*needs a login"):
        client.upload(write_pipeline(tmp_path))


def test_an_unreachable_host_gives_a_one_line_error(server, tmp_path):
    server.stop()
    with pytest.raises(BadInput, match="no answer from Kubeflow Pipelines"):
        KubeflowClient(server.url, retries=1, retry_seconds=0.01).upload(write_pipeline(tmp_path))


def test_another_file_is_refused_before_any_request(server, client, tmp_path):
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


def test_the_script_has_a_dry_run_submits_and_reports_one_line_errors(server, tmp_path):
    """One test, because each start of the script imports TFX."""
    path = write_pipeline(tmp_path).path
    dry_run = submit("--host", server.url, "--dry-run", "schedule", path, "--cron", "0 0 * * * *")
    assert (dry_run.returncode, server.requests) == (0, [])
    assert "would schedule world-teacher at 0 0 * * * *" in dry_run.stdout

    assert "uploaded" in submit("--host", server.url, "upload", path).stdout
    server.token = "secret"
    refused = submit("--host", server.url, "upload", path)
    assert refused.returncode == 2
    assert refused.stderr.startswith("submit.py: ")
    assert "Traceback" not in refused.stderr
    assert submit("--host", server.url, "schedule", path, "--cron", "daily").returncode == 2
