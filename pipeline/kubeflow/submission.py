"""Compiled pipelines on a cluster's Kubeflow Pipelines: uploaded, run, scheduled, filled back."""

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

_RETRIED = (429, 503)
"""With these a server says that it has not done what it was asked; after others it may have."""
_PAGE = 100
_OTHER_SHAPES = (KeyError, TypeError, AttributeError, StopIteration)
_SUCCEEDED = "SUCCEEDED"
_ENDED = ("FAILED", "CANCELED", "SKIPPED", "ERROR")
_MEANINGS = {
    401: ("somebody who is known", "Give a token with --token or KFP_TOKEN."),
    403: ("somebody who may", "Ask for the rights, or give another token or --namespace."),
    404: ("Kubeflow Pipelines with the v2beta1 API", "Look at --host; it ends before /apis."),
}


@dataclasses.dataclass(frozen=True)
class Package:
    """A compiled pipeline.

    Attributes:
        path: Its YAML.
        name: Of the pipeline.
        version: 12 hex digits of the YAML: what is unchanged is not uploaded again.
        takes_span: Whether it has the parameter `span`.
        root: Where its artifacts go; Kubeflow asks the run for it, not the pipeline.
    """

    path: Path
    name: str
    version: str
    takes_span: bool
    root: str


def read_package(path: Path) -> Package:
    """Reads what is to be submitted.

    Raises:
        BadInput: if the file is no compiled pipeline.
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
    except (OSError, UnicodeDecodeError, yaml.YAMLError, *_OTHER_SHAPES) as error:
        raise BadInput(
            "not a compiled pipeline", where=str(path), expected="YAML with a PipelineSpec",
            got=f"{type(error).__name__}: {error}".splitlines()[0],
            fix="Write it with `python kubeflow/compile.py`.",
        ) from error  # fmt: skip


class Pipelines:
    """Kubeflow Pipelines at a host.

    Args:
        host: URL in front of `/apis/v2beta1`.
        token: Bearer token; empty: none.
        namespace: Of a deployment for several users; empty: there is one.
        experiment: Groups the runs in the UI; made if it is missing.
        service_account: Kubernetes' that runs are started under; empty: Kubeflow's default.
        retry_seconds: Before a request that met 429 or a 50x is sent again for the first time; doubles.
        retries: How often.
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
        configuration.retries = urllib3.Retry(
            total=retries,
            read=False,
            status_forcelist=_RETRIED,
            allowed_methods=None,
            backoff_factor=retry_seconds,
            raise_on_status=False,
        )
        client = api.ApiClient(configuration)
        self._host, self._namespace, self._experiment = host, namespace, experiment
        self._service_account = service_account or None
        self._pipelines = api.PipelineServiceApi(client)
        self._uploads = api.PipelineUploadServiceApi(client)
        self._experiments = api.ExperimentServiceApi(client)
        self._runs = api.RunServiceApi(client)
        self._recurring = api.RecurringRunServiceApi(client)

    def upload(self, package: Package) -> tuple[str, str, bool]:
        """Uploads a pipeline, or a new version of it.

        Returns:
            Ids of pipeline and version, and whether anything was uploaded.

        Raises:
            BadInput: if the host is not to be reached, is no Kubeflow Pipelines, or refuses.
        """
        with self._answers():
            of_user = {"namespace": self._namespace} if self._namespace else {}
            found = self._pipelines.list_pipelines(filter=_named(package.name), **of_user).pipelines or []
            if not found:
                # The API makes the first version under the pipeline's name: ours is added to it.
                made = self._uploads.upload_pipeline(str(package.path), name=package.name, **of_user)
                pipeline_id = made.pipeline_id
            else:
                pipeline_id = found[0].pipeline_id
            versions = self._pipelines.list_pipeline_versions(
                pipeline_id, filter=_named(package.version), page_size=_PAGE
            )
            for version in versions.pipeline_versions or []:
                return pipeline_id, version.pipeline_version_id, False
            uploaded = self._uploads.upload_pipeline_version(
                str(package.path), name=package.version, pipelineid=pipeline_id
            )
            return pipeline_id, uploaded.pipeline_version_id, True

    def run(self, package: Package, span: int | None = None) -> str:
        """Starts a run of the newest version, uploaded if need be; returns its id.

        Args:
            package: The pipeline.
            span: The span it shall run; None: the next that is due.

        Raises:
            BadInput: see `upload`; if the pipeline takes no span and one is given.
        """
        if span is not None and not package.takes_span:
            raise BadInput(
                "no such parameter", where=package.name, expected="a pipeline that runs a span",
                got=f"span {span}", fix="The bootstrap runs once; leave --span out.",
            )  # fmt: skip
        reference = self._reference(package)
        title = package.name if span is None else f"{package.name} span {span}"
        with self._answers():
            run = api.V2beta1Run(
                display_name=title,
                experiment_id=self._experiment_id(),
                service_account=self._service_account,
                pipeline_version_reference=reference,
                runtime_config=api.V2beta1RuntimeConfig(
                    parameters={} if span is None else {SPAN: span}, pipeline_root=package.root
                ),
            )
            return str(self._runs.create_run(body=run).run_id)

    def schedule(self, package: Package, cron: str) -> tuple[str, int]:
        """Has the next due span run at every tick, in place of earlier schedules of this pipeline.

        Args:
            package: The pipeline.
            cron: Six fields, seconds first.

        Returns:
            Id of the recurring run, and how many earlier ones were deleted.

        Raises:
            BadInput: see `upload`.
        """
        reference = self._reference(package)
        with self._answers():
            experiment = self._experiment_id()
            earlier = self._recurring.list_recurring_runs(
                experiment_id=experiment, filter=_named(package.name), page_size=_PAGE
            )
            made = self._recurring.create_recurring_run(
                body=api.V2beta1RecurringRun(
                    display_name=package.name,
                    experiment_id=experiment,
                    service_account=self._service_account,
                    mode="ENABLE",
                    # Spans are learnt in their order: never two at a time, none for a tick that was missed.
                    max_concurrency="1",
                    no_catchup=True,
                    trigger=api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=cron)),
                    pipeline_version_reference=reference,
                    runtime_config=api.V2beta1RuntimeConfig(parameters={}, pipeline_root=package.root),
                )
            )
            replaced = earlier.recurring_runs or []
            for each in replaced:
                self._recurring.delete_recurring_run(each.recurring_run_id)
            return str(made.recurring_run_id), len(replaced)

    def backfill(
        self, package: Package, spans: range, say: Callable[[str], Any], poll_seconds: float = 10.0
    ) -> None:
        """Runs spans one after another, each when the one before has succeeded.

        Args:
            package: The pipeline.
            spans: In order.
            say: Told of each span that is done.
            poll_seconds: Between two looks at a run.

        Raises:
            BadInput: see `upload`; if a run ends otherwise, with its id.
        """
        for span in spans:
            run_id = self.run(package, span)
            self.wait(run_id, f"{package.name}, span {span}", poll_seconds)
            say(f"{package.name}, span {span}: done by run {run_id}")

    def wait(self, run_id: str, what: str, poll_seconds: float = 10.0) -> None:
        """Waits until a run has succeeded.

        Args:
            run_id: The run.
            what: It does, for the message.
            poll_seconds: Between two looks at it.

        Raises:
            BadInput: see `upload`; if it ends otherwise.
        """
        while True:
            with self._answers():
                state = self._runs.get_run(run_id).state
            if state == _SUCCEEDED:
                return
            if state in _ENDED:
                raise BadInput(
                    "a run did not succeed", where=what, expected=_SUCCEEDED, got=f"{state}, run {run_id}",
                    fix="See the run in the UI; then go on from here.",
                )  # fmt: skip
            time.sleep(poll_seconds)

    def _reference(self, package: Package) -> api.V2beta1PipelineVersionReference:
        pipeline_id, version_id, _ = self.upload(package)
        return api.V2beta1PipelineVersionReference(pipeline_id=pipeline_id, pipeline_version_id=version_id)

    def _experiment_id(self) -> str:
        of_user = {"namespace": self._namespace} if self._namespace else {}
        found = self._experiments.list_experiments(filter=_named(self._experiment), **of_user).experiments
        if found:
            return str(found[0].experiment_id)
        wanted = api.V2beta1Experiment(display_name=self._experiment, **of_user)
        return str(self._experiments.create_experiment(body=wanted).experiment_id)

    @contextlib.contextmanager
    def _answers(self) -> Iterator[None]:
        """Makes one line of what the host says no with."""
        try:
            yield
        except api.ApiException as error:
            expected, fix = _MEANINGS.get(error.status, ("an answer", "See the server's log."))
            raise BadInput(
                "Kubeflow Pipelines refuses", where=self._host, expected=expected,
                got=f"{error.status} {error.reason}: {_reason(error.body)}", fix=fix,
            ) from error  # fmt: skip
        except (urllib3.exceptions.HTTPError, api.OpenApiException) as error:
            raise BadInput(
                "no answer of Kubeflow Pipelines", where=self._host, expected="its v2beta1 API",
                got=type(error).__name__,
                fix="Look at --host, whether the port is forwarded, and whether a login stands before it.",
            ) from error  # fmt: skip


def _named(name: str) -> str:
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})


def _reason(body: str | None) -> str:
    """The server's own words, where there are any: gRPC's gateway answers with JSON."""
    try:
        said = json.loads(body or "")
        return str(said.get("message") or said.get("error") or "no reason given")[:200]
    except (ValueError, AttributeError):
        return "no reason given"
