"""Client of Kubeflow Pipelines: uploads compiled pipelines; runs, schedules or backfills them."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kfp_server_api as api
import urllib3
import yaml

from eventlog.errors import BadInput
from pipeline.cluster import SPAN
from pipeline.kubeflow.api_service import ApiService

_TOO_MANY_REQUESTS = 429
_NO_ANSWER = (502, 503, 504)
"""HTTP statuses of a proxy that got no answer from the server. The server may have acted on the request."""
_PAGE_SIZE = 100
_NOT_A_SPEC = (KeyError, TypeError, AttributeError, StopIteration)
"""Errors that occur if the YAML does not have the structure of a PipelineSpec."""
_SUCCEEDED = "SUCCEEDED"
_NOT_SUCCEEDED = ("FAILED", "CANCELED", "SKIPPED", "ERROR")
_EXPECTED_AND_FIX = {
    401: ("a valid token", "Give a token with --token or KFP_TOKEN."),
    403: ("an authorized user", "Request access, or give another token or --namespace."),
    404: ("Kubeflow Pipelines with the v2beta1 API", "Check --host, the URL before /apis."),
}
"""HTTP status -> the expected state and the fix, for the error message."""


@dataclasses.dataclass(frozen=True)
class Package:
    """A compiled pipeline.

    Attributes:
        path: Its YAML file.
        name: The pipeline's name.
        version: 12 hex digits of the file's hash. An existing version is not uploaded again.
        takes_span: Whether the pipeline has the parameter `span`.
        root: URI of its artifacts' folder. Kubeflow reads this URI from each run, not from the pipeline.
    """

    path: Path
    name: str
    version: str
    takes_span: bool
    root: str


def read_package(path: Path) -> Package:
    """Reads a compiled pipeline.

    Raises:
        BadInput: if the file is not a compiled pipeline.
    """
    try:
        text = path.read_text()
        spec = next(yaml.safe_load_all(text))
        return Package(
            path=path,
            name=spec["pipelineInfo"]["name"],
            version=hashlib.sha256(text.encode()).hexdigest()[:12],
            takes_span=SPAN in spec["root"].get("inputDefinitions", {}).get("parameters", {}),
            root=spec["defaultPipelineRoot"],
        )
    except (OSError, UnicodeDecodeError, yaml.YAMLError, *_NOT_A_SPEC) as error:
        raise BadInput(
            "not a compiled pipeline", where=str(path), expected="YAML with a PipelineSpec",
            got=f"{type(error).__name__}: {error}".splitlines()[0],
            fix="Write it with `python kubeflow/compile.py`.",
        ) from error  # fmt: skip


class _SafeRetry(urllib3.Retry):
    """Repeats a request only if that is safe.

    Every request is repeated after status 429 or if no connection is made: the server has not acted on it.
    Only a GET is repeated after status 502, 503, 504 or a broken connection: the server may have acted.
    """

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        """Whether a request that got this status is repeated."""
        return status_code == _TOO_MANY_REQUESTS or (method == "GET" and status_code in _NO_ANSWER)


class KubeflowClient:
    """Client of one Kubeflow Pipelines host.

    Args:
        host: URL of the installation, without `/apis/v2beta1`.
        token: Bearer token; empty for none.
        namespace: Namespace on a multi-user installation; empty on a single-user one.
        experiment: Name of the Kubeflow experiment that groups the runs in the UI; created if missing.
        service_account: Kubernetes service account of the runs; empty for Kubeflow's default.
        retry_seconds: Half of the wait before the second retry of a request. The wait doubles with each
            further retry; the first retry follows at once.
        retries: Maximum number of retries of a request.
    """

    def __init__(
        self,
        host: str,
        token: str = "",
        namespace: str = "",
        experiment: str = "rankdistill",
        service_account: str = "",
        retry_seconds: float = 1.0,
        retries: int = 5,
    ) -> None:
        configuration = api.Configuration(host=host.rstrip("/"))
        if token:
            configuration.api_key = {"authorization": token}
            configuration.api_key_prefix = {"authorization": "Bearer"}
        configuration.retries = _SafeRetry(
            total=retries,
            allowed_methods=("GET",),  # methods that are repeated after a broken connection
            backoff_factor=retry_seconds,
            raise_on_status=False,
        )
        client = api.ApiClient(configuration)
        self._host, self._experiment = host, experiment
        self._namespace = {"namespace": namespace} if namespace else {}
        self._service_account = service_account or None
        self._pipelines = ApiService(api.PipelineServiceApi(client), "pipeline_service")
        self._uploads = api.PipelineUploadServiceApi(client)
        self._experiments = ApiService(api.ExperimentServiceApi(client), "experiment_service")
        self._runs = ApiService(api.RunServiceApi(client), "run_service")
        self._recurring = ApiService(api.RecurringRunServiceApi(client), "recurring_run_service")

    def upload(self, package: Package) -> tuple[str, str, bool]:
        """Uploads a pipeline, or a new version of it.

        Returns:
            The pipeline's id, the version's id, and whether the version is new.

        Raises:
            BadInput: if the host cannot be reached, is not Kubeflow Pipelines, or refuses the request.
        """
        with self._one_line_errors():
            listed = self._pipelines.list_pipelines(filter=_name_filter(package.name), **self._namespace)
            if listed.pipelines:
                pipeline_id = listed.pipelines[0].pipeline_id
            else:
                # The API names this version like the pipeline; so a second version is named by the hash.
                uploaded = self._uploads.upload_pipeline(
                    str(package.path), name=package.name, **self._namespace
                )
                pipeline_id = uploaded.pipeline_id
            versions = self._pipelines.list_pipeline_versions(
                pipeline_id, filter=_name_filter(package.version), page_size=_PAGE_SIZE
            ).pipeline_versions
            if versions:
                return pipeline_id, versions[0].pipeline_version_id, False
            version = self._uploads.upload_pipeline_version(
                str(package.path), name=package.version, pipelineid=pipeline_id
            )
            return pipeline_id, version.pipeline_version_id, True

    def run(self, package: Package, span: int | None = None) -> str:
        """Uploads the pipeline if it is new, and starts a run. Returns the run's id.

        Args:
            package: The pipeline.
            span: The span to run; None for the next due span.

        Raises:
            BadInput: see `upload`; or if a span is given and the pipeline has no parameter `span`.
        """
        if span is not None and not package.takes_span:
            raise BadInput(
                "no such parameter", where=package.name, expected="a pipeline that runs a span",
                got=f"span {span}", fix="A burn-in pipeline runs once; leave --span out.",
            )  # fmt: skip
        reference = self._reference(package)
        title = package.name if span is None else f"{package.name} span {span}"
        with self._one_line_errors():
            run = api.V2beta1Run(
                display_name=title,
                experiment_id=self._experiment_id(),
                service_account=self._service_account,
                pipeline_version_reference=reference,
                runtime_config=api.V2beta1RuntimeConfig(
                    parameters={} if span is None else {SPAN: span}, pipeline_root=package.root
                ),
            )
            return str(self._runs.create_run(run).run_id)

    def schedule(self, package: Package, cron: str) -> tuple[str, int]:
        """Schedules runs of the next due span.

        Then deletes earlier schedules of this pipeline in the same Kubeflow experiment.

        Args:
            package: The pipeline.
            cron: The times of the runs as a cron expression of six fields, seconds first.

        Returns:
            The id of the recurring run, and the number of deleted recurring runs.

        Raises:
            BadInput: see `upload`; or if the pipeline has no parameter `span`.
        """
        if not package.takes_span:
            raise BadInput(
                "not a span pipeline", where=package.name, expected="a pipeline that runs a span",
                got="no parameter span", fix="A burn-in pipeline runs once: start it without a schedule.",
            )  # fmt: skip
        reference = self._reference(package)
        with self._one_line_errors():
            experiment_id = self._experiment_id()
            listed = self._recurring.list_recurring_runs(
                experiment_id=experiment_id, filter=_name_filter(package.name), page_size=_PAGE_SIZE
            )
            created = self._recurring.create_recurring_run(
                api.V2beta1RecurringRun(
                    display_name=package.name,
                    experiment_id=experiment_id,
                    service_account=self._service_account,
                    mode="ENABLE",
                    # Spans run in order: never two runs at a time, and no run for a missed time.
                    max_concurrency="1",
                    no_catchup=True,
                    trigger=api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=cron)),
                    pipeline_version_reference=reference,
                    runtime_config=api.V2beta1RuntimeConfig(parameters={}, pipeline_root=package.root),
                )
            )
            earlier = listed.recurring_runs or []
            for recurring_run in earlier:
                self._recurring.delete_recurring_run(recurring_run.recurring_run_id)
            return str(created.recurring_run_id), len(earlier)

    def backfill(
        self, package: Package, spans: range, report: Callable[[str], Any], poll_seconds: float = 10.0
    ) -> None:
        """Runs spans in order; a span starts after the run of the previous span has succeeded.

        Args:
            package: The pipeline.
            spans: The spans, in order.
            report: Function that is called with one line for each finished span.
            poll_seconds: Time between two requests for a run's state.

        Raises:
            BadInput: see `upload`; or if a run does not succeed.
        """
        for span in spans:
            run_id = self.run(package, span)
            self.wait(run_id, f"{package.name}, span {span}", poll_seconds)
            report(f"{package.name}, span {span}: done by run {run_id}")

    def wait(self, run_id: str, title: str, poll_seconds: float = 10.0) -> None:
        """Waits until a run has succeeded.

        Args:
            run_id: The run.
            title: Text that names the run in the error message.
            poll_seconds: Time between two requests for the run's state.

        Raises:
            BadInput: see `upload`; or if the run does not succeed.
        """
        while True:
            with self._one_line_errors():
                state = self._runs.get_run(run_id).state
            if state == _SUCCEEDED:
                return
            if state in _NOT_SUCCEEDED:
                raise BadInput(
                    "a run did not succeed", where=title, expected=_SUCCEEDED, got=f"{state}, run {run_id}",
                    fix="See the run in the UI; then continue with this span.",
                )  # fmt: skip
            time.sleep(poll_seconds)

    def _reference(self, package: Package) -> api.V2beta1PipelineVersionReference:
        pipeline_id, version_id, _ = self.upload(package)
        return api.V2beta1PipelineVersionReference(pipeline_id=pipeline_id, pipeline_version_id=version_id)

    def _experiment_id(self) -> str:
        listed = self._experiments.list_experiments(filter=_name_filter(self._experiment), **self._namespace)
        if listed.experiments:
            return str(listed.experiments[0].experiment_id)
        experiment = api.V2beta1Experiment(display_name=self._experiment, **self._namespace)
        return str(self._experiments.create_experiment(experiment).experiment_id)

    @contextlib.contextmanager
    def _one_line_errors(self) -> Iterator[None]:
        """Raises errors of the API client as BadInput."""
        try:
            yield
        except api.ApiException as error:
            expected, fix = _EXPECTED_AND_FIX.get(error.status, ("success", "See the server's log."))
            raise BadInput(
                "Kubeflow Pipelines refuses the request", where=self._host, expected=expected,
                got=f"{error.status} {error.reason}: {_server_message(error.body)}", fix=fix,
            ) from error  # fmt: skip
        except (urllib3.exceptions.HTTPError, api.OpenApiException) as error:
            raise BadInput(
                "no answer from Kubeflow Pipelines", where=self._host, expected="its v2beta1 API",
                got=type(error).__name__,
                fix="Check --host, the port forwarding, and whether the host needs a login.",
            ) from error  # fmt: skip


def _name_filter(name: str) -> str:
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})


def _server_message(body: str | None) -> str:
    """The error message in the server's JSON answer, at most 200 characters."""
    try:
        answer = json.loads(body or "")
        return str(answer.get("message") or answer.get("error") or "no reason given")[:200]
    except (ValueError, AttributeError):
        return "no reason given"
