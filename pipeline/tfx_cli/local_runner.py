"""What TFX's own command line runs: `tfx run create --engine=local` works off the next span that is due.

`tfx pipeline create` takes the path of a file that runs one pipeline and gives it no arguments, so where
things are comes from the environment:

    RANKDISTILL_CONFIG    the deployment's YAML
    RANKDISTILL_EVENTS    the impression log
    RANKDISTILL_ROOT      where everything goes
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
from pipeline.driver.due_spans import NotYet, next_due
from pipeline.driver.journal import Journal
from pipeline.driver.lock import only_loop
from pipeline.driver.loop import Loop
from pipeline.driver.progress import Progress
from pipeline.paths import RunPaths

CONFIG, EVENTS, ROOT = "RANKDISTILL_CONFIG", "RANKDISTILL_EVENTS", "RANKDISTILL_ROOT"


class DueSpanRunner(local_dag_runner.LocalDagRunner):
    """Registers the pipeline that it is given and runs the one that is due.

    TFX's command line replaces `LocalDagRunner.run` to learn the pipeline's name, and when it runs the file
    nothing is replaced.
    """

    def __init__(self, deployment: Deployment, paths: RunPaths) -> None:
        super().__init__()
        self._deployment = deployment
        self._paths = paths

    def run_with_ir(
        self, ir: pipeline_pb2.Pipeline, run_options: pipeline_pb2.RunOptions | None = None
    ) -> None:
        """See the base class: the burn-in if need be, then one span.

        Raises:
            BadInput: if no span is due, or the log, the labels or the configuration are at fault.
        """
        with only_loop(self._paths.root):
            loop = Loop(
                self._deployment,
                self._paths,
                Progress(Console(soft_wrap=True), Journal(self._paths.journal)),
            )
            due = next_due(self._deployment, self._paths, loop.branches, None)
            if due is None:
                raise NotYet(
                    "nothing is due", where=str(self._paths.events), expected="a span that is not yet run",
                    got="none", fix="Write the next span with `rankdistill events`.",
                )  # fmt: skip
            _, stuck = loop.catch_up(range(due.span, due.span + 1))
        for error in stuck.values():
            raise error


def main() -> None:
    """Runs what the environment names.

    Raises:
        BadInput: see `DueSpanRunner`.
    """
    deployment = load_deployment(environment(CONFIG))
    paths = RunPaths(environment(ROOT), environment(EVENTS))
    first = span_pipeline(deployment, paths, deployment.first_span(TEACHER))
    DueSpanRunner(deployment, paths).run(first)


def environment(name: str) -> Path:
    """The path that a variable holds, made absolute.

    Raises:
        BadInput: if there is no such variable.
    """
    if not os.environ.get(name):
        raise BadInput(
            "no such variable", where="environment", expected=f"a path in {name}", got="nothing",
            fix="Export it; TFX's command line hands no arguments on.",
        )  # fmt: skip
    return Path(os.environ[name]).resolve()
