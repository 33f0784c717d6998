"""DueSpan: the first step of a span's pipeline on a cluster, which finds out what span that is.

A recurring run cannot be told: Kubeflow Pipelines v2 does not expand macros such as `[[Index]]` in its
parameters (kubeflow/pipelines#12494). So this asks what the loop on one machine asks, of the same records.
"""

import json
import logging
from pathlib import Path

from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Integer

from components.span_records import BOOTSTRAP, TEACHER, recorded_spans
from eventlog.checks import EmptySpan, check_span
from eventlog.errors import BadInput
from models.settings import from_json
from pipeline.config import Deployment
from pipeline.driver.due_spans import Due, NotYet, labels_are_due, next_due, skip, skip_late
from pipeline.paths import RunPaths

_LOG = logging.getLogger(__name__)

NEXT = -1
"""The wanted span of a run that takes the next one that is due."""


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
    """Chooses the span that the run's other steps work off; late and empty ones are recorded as skipped.

    Args:
        span: The span.
        version: Its newest complete version.
        deployment: JSON of the Deployment.
        root: Of all pipelines of the deployment.
        events: Folder of the event log.
        branches: JSON list of the branches that this pipeline runs.
        wanted: The span that the run was asked for, or -1 for the next one that is due.

    Raises:
        BadInput: if nothing is due, or another span than the one that was asked for.
    """
    paths = RunPaths(Path(root), Path(events), on_cluster=True)
    due = find_due(from_json(Deployment, deployment), paths, json.loads(branches), wanted)
    _LOG.info("span %d, version %d", due.span, due.version)
    span.write(due.span)
    version.write(due.version)


def find_due(deployment: Deployment, paths: RunPaths, branches: list[str], wanted: int) -> Due:
    """What `DueSpan` chooses.

    Raises:
        BadInput: see there.
    """
    if not recorded_spans(paths.records, BOOTSTRAP):
        raise NotYet(
            "no bootstrap", where=paths.records, expected="a finished run of the bootstrap's pipeline",
            got="none", fix="Run bootstrap.yaml, and wait for its end.",
        )  # fmt: skip
    due = next_due(deployment, paths, branches, None)
    while due is not None and _is_skipped(deployment, paths, due):
        due = next_due(deployment, paths, branches, None)
    if due is None:
        raise NotYet(
            "nothing is due", where=str(paths.events), expected="a span that is complete and not yet run",
            got="none", fix="Wait for the next span; a schedule may well look more often than spans come.",
        )  # fmt: skip
    if wanted not in (NEXT, due.span):
        raise BadInput(
            "not the span that is due", where=f"branches {', '.join(branches)}", expected=f"span {due.span}",
            got=f"span {wanted}", fix="Spans are learnt in order: ask for this one, or for -1, the next.",
        )  # fmt: skip
    if set(due.branches) != set(branches):
        raise BadInput(
            "branches apart", where=f"span {due.span}", expected=f"all of {', '.join(branches)} at one span",
            got=f"{', '.join(due.branches)} behind the others",
            fix="Run the pipelines of those that are behind until they have caught up.",
        )  # fmt: skip
    if TEACHER not in branches and not labels_are_due(deployment, paths, due):
        raise NotYet(
            "no labels yet", where=f"span {due.span}", expected="the teacher's label set of the span",
            got="none", fix="Run the teacher's pipeline; the step is tried again, then by the next run.",
        )  # fmt: skip
    return due


def _is_skipped(deployment: Deployment, paths: RunPaths, due: Due) -> bool:
    """Skips a span that is late, or in which nothing was shown, as the loop on one machine does."""
    if due.missing:
        skip_late(deployment, paths, due)
        return True
    try:
        check_span(paths.events, due.span, due.version)
    except EmptySpan as error:
        skip(paths, due, str(error))
        return True
    except BadInput:
        # SpanExampleGen says so, where a person looks for it.
        return False
    return False
