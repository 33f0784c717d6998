"""DueSpan: the first step of a compiled span pipeline. It finds the next due span of its branches.

Kubeflow Pipelines v2 does not expand macros such as `[[Index]]` in the parameters of a recurring run
(kubeflow/pipelines#12494), so a schedule cannot pass the span. DueSpan finds it from the span records, by the
rules of `rankdistill run`.
"""

import logging
from pathlib import Path

from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Integer

from components.span_records import BURN_IN, TEACHER, recorded_spans
from eventlog.checks import EmptySpan, check_span
from eventlog.errors import BadInput
from models.settings import from_json
from pipeline.config import Deployment
from pipeline.driver.changed_settings import accept_settings
from pipeline.driver.due_spans import (
    SpanToRun,
    find_next_span,
    labels_are_ready,
    lacks_burn_in,
    skip_missing_span,
    skip_span,
)
from pipeline.driver.log_checks import InputNotReady
from pipeline.driver.root_platform import accept_platform, require_platform
from pipeline.paths import RunPaths

_LOG = logging.getLogger(__name__)

NEXT_SPAN = -1
"""This value of the pipeline parameter `span` selects the next due span."""


@component
def DueSpan(  # noqa: N802 - called like a class
    span: OutputArtifact[Integer],
    version: OutputArtifact[Integer],
    deployment: Parameter[str],
    root: Parameter[str],
    events: Parameter[str],
    branches: Parameter[str],
    wanted: Parameter[int],
) -> None:
    """Writes the due span for the other steps of the run. Records missing and empty spans as skipped.

    Args:
        span: Output: the due span.
        version: Output: the newest complete version of the due span.
        deployment: The configuration as JSON.
        root: The root of the run, in the shared folder.
        events: Folder of the event log.
        branches: JSON list of the branches that this pipeline runs.
        wanted: The requested span, or -1 for the next due span.

    Raises:
        BadInput: if a burn-in, a span or its labels are missing, no span is due, the due span is not the
            requested span, or branches are at different spans. Also if the configuration or the TFX version
            does not fit the root.
    """
    paths = RunPaths(Path(root), Path(events), on_cluster=True)
    names = from_json(tuple[str, ...], branches)
    due = find_due_span(from_json(Deployment, deployment), paths, names, wanted)
    _LOG.info("span %d, version %d", due.span, due.version)
    span.write(due.span)
    version.write(due.version)


def find_due_span(
    deployment: Deployment, paths: RunPaths, branches: tuple[str, ...], wanted: int
) -> SpanToRun:
    """Finds the span that `DueSpan` writes. Records missing and empty spans before it as skipped.

    Raises:
        BadInput: see `DueSpan`.
    """
    if not recorded_spans(paths.records, BURN_IN):
        raise InputNotReady(
            "no burn-in", where=paths.records, expected="a finished run of the burn-in pipeline",
            got="none", fix="Run burn-in.yaml and wait until it has finished.",
        )  # fmt: skip
    require_platform(paths)
    for change in accept_settings(deployment, paths):
        _LOG.warning("changed setting, from now on: %s", change)
    accept_platform(paths)
    surface = next((branch for branch in branches if lacks_burn_in(deployment, paths, branch)), None)
    if surface is not None:
        raise InputNotReady(
            f"no burn-in of {surface}", where=paths.records,
            expected="a finished run of the surface's burn-in pipeline", got="none",
            fix=f"Run burn-in-{surface}.yaml, or set surfaces.{surface}.burn_in: false.",
        )  # fmt: skip
    due = find_next_span(deployment, paths, branches, None)
    while due is not None:
        _require_wanted(due, wanted, branches)
        if not _skip_if_missing_or_empty(deployment, paths, due):
            break
        if wanted == due.span:
            raise InputNotReady(
                "the span is missing or empty, and was skipped", where=f"span {wanted}",
                expected="fresh rows", got="none", fix="Request the next span, or -1.",
            )  # fmt: skip
        due = find_next_span(deployment, paths, branches, None)
    if due is None:
        raise InputNotReady(
            "no span is due", where=str(paths.events), expected="a complete span that has not been run",
            got="none", fix="Wait for the next span. A schedule may start runs more often than spans arrive.",
        )  # fmt: skip
    if set(due.branches) != set(branches):
        raise BadInput(
            "branches at different spans", where=f"span {due.span}",
            expected=f"all of {', '.join(branches)} at this span", got=f"only {', '.join(due.branches)}",
            fix="Run the pipelines of these branches until they have reached the others.",
        )  # fmt: skip
    if TEACHER not in branches and not labels_are_ready(deployment, paths, due):
        raise InputNotReady(
            "no labels yet", where=f"span {due.span}", expected="the teacher's label set of the span",
            got="none", fix="Run the teacher's pipeline. A retry of this step or a later run checks again.",
        )  # fmt: skip
    return due


def _require_wanted(due: SpanToRun, wanted: int, branches: tuple[str, ...]) -> None:
    if wanted not in (NEXT_SPAN, due.span):
        raise BadInput(
            "span is not due", where=f"branches {', '.join(branches)}", expected=f"span {due.span}",
            got=f"span {wanted}", fix=f"Spans run in order: request span {due.span}, or -1 for the next.",
        )  # fmt: skip


def _skip_if_missing_or_empty(deployment: Deployment, paths: RunPaths, due: SpanToRun) -> bool:
    """Returns whether the span is missing or empty; if so, records it as skipped, like `rankdistill run`."""
    if due.is_missing:
        skip_missing_span(deployment, paths, due)
        return True
    try:
        check_span(paths.events, due.span, deployment.event_columns.read(), due.version)
    except EmptySpan as error:
        skip_span(paths, due, str(error))
        return True
    except BadInput:
        # SpanExampleGen raises the same error, in the step in which a person looks for a faulty span.
        return False
    return False
