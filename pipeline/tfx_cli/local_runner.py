"""Runs the next due span for `tfx run create --engine=local`.

`tfx pipeline create` loads a file that runs one pipeline, but passes no arguments to the file. Environment
variables replace the arguments:

    RANKDISTILL_CONFIG    the deployment's YAML file
    RANKDISTILL_EVENTS    the event log
    RANKDISTILL_ROOT      the run's root
"""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console
from tfx.orchestration.local import local_dag_runner
from tfx.proto.orchestration import pipeline_pb2

from components.span_records import TEACHER
from eventlog.errors import BadInput
from pipeline.config import Deployment
from pipeline.config_file import load_deployment
from pipeline.dag.pipelines import span_pipeline
from pipeline.driver.due_spans import find_next_spans
from pipeline.driver.journal import open_journal
from pipeline.driver.lock import exclusive_loop_lock
from pipeline.driver.log_checks import InputNotReady
from pipeline.driver.loop import Loop
from pipeline.driver.progress import Progress
from pipeline.errors import exit_with
from pipeline.paths import RunPaths

CONFIG_VARIABLE = "RANKDISTILL_CONFIG"
_EVENTS_VARIABLE = "RANKDISTILL_EVENTS"
_ROOT_VARIABLE = "RANKDISTILL_ROOT"


class DueSpanRunner(local_dag_runner.LocalDagRunner):
    """Runs the next due span instead of the pipeline that is passed to `run`.

    `tfx pipeline create` only registers the passed pipeline; to do so, it replaces `LocalDagRunner.run`.
    """

    def __init__(self, deployment: Deployment, paths: RunPaths) -> None:
        super().__init__()
        self._deployment = deployment
        self._paths = paths

    def run_with_ir(
        self, ir: pipeline_pb2.Pipeline, run_options: pipeline_pb2.RunOptions | None = None
    ) -> None:
        """See the base class. Runs the burn-in if it is missing, then one span.

        Raises:
            BadInput: if no span is due, or if the event log, the labels or the configuration are faulty.
            click.exceptions.Exit: if a surface has an error; see `exit_with`.
        """
        with exclusive_loop_lock(self._paths.root), open_journal(self._paths.journal) as journal:
            loop = Loop(self._deployment, self._paths, Progress(Console(soft_wrap=True), journal))
            spans = find_next_spans(self._deployment, self._paths, loop.branches)
            if not spans:
                raise InputNotReady(
                    "no span is due", where=str(self._paths.events), expected="a span that has not been run",
                    got="none", fix="Write the next span with `rankdistill events`.",
                )  # fmt: skip
            _, errors = loop.catch_up(spans)
        exit_with(errors.values())


def main() -> None:
    """Runs the next due span; environment variables name the configuration, the event log and the root.

    Raises:
        BadInput: if an environment variable is missing; see also `DueSpanRunner.run_with_ir`.
    """
    deployment = load_deployment(path_from_environment(CONFIG_VARIABLE))
    paths = RunPaths(path_from_environment(_ROOT_VARIABLE), path_from_environment(_EVENTS_VARIABLE))
    first_span_dag = span_pipeline(deployment, paths, deployment.first_span(TEACHER))
    DueSpanRunner(deployment, paths).run(first_span_dag)


def path_from_environment(name: str) -> Path:
    """Returns the absolute path that an environment variable names.

    Raises:
        BadInput: if the variable is missing or empty.
    """
    if not os.environ.get(name):
        raise BadInput(
            "no such variable", where="environment", expected=f"a path in {name}", got="nothing",
            fix="Export it: TFX's command line passes no arguments.",
        )  # fmt: skip
    return Path(os.environ[name]).resolve()
