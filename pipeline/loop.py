"""The run over spans: what is due, in order, until the event log is exhausted."""

from __future__ import annotations

import logging

from tfx.orchestration import pipeline

from components.span_records import BOOTSTRAP, TEACHER, recorded_spans
from eventlog.errors import BadInput
from eventlog.spans import complete_spans
from pipeline.config import Deployment
from pipeline.dag import bootstrap_pipeline, span_pipeline
from pipeline.local_runner import LocalRunner
from pipeline.place import Place
from pipeline.progress import Progress

_LOG = logging.getLogger(__name__)


def run_due(deployment: Deployment, place: Place, wanted: range | None, progress: Progress) -> list[int]:
    """Bootstraps if need be, then runs every due span in order.

    Args:
        deployment: The configuration.
        place: Where the run keeps what; what is recorded there is not run again.
        wanted: The spans to have run at the end; all that the log holds, when None.
        progress: Told of every step.

    Returns:
        The spans run now, burn-in not counted.

    Raises:
        BadInput: if the log lacks a span that is needed, or a span is faulty.
    """
    available = complete_spans(place.events)
    burn_in = deployment.burn_in_spans
    _require(place, burn_in, available, "the burn-in")
    due = due_spans(deployment, place, available, wanted)
    place.root.mkdir(parents=True, exist_ok=True)
    if not recorded_spans(place.records, BOOTSTRAP):
        _run(bootstrap_pipeline(deployment, place), f"burn-in {burn_in[0]}:{burn_in[-1]}", progress)
    for span in due:
        _run(span_pipeline(deployment, place, span), f"span {span}", progress)
    return due


def due_spans(deployment: Deployment, place: Place, available: list[int], wanted: range | None) -> list[int]:
    """The spans still to run: after the burn-in, without a gap, up to the last one wanted.

    Raises:
        BadInput: if the wanted range would leave a gap behind the last finished span, or is not in the log.
    """
    first = deployment.burn_in_spans[-1] + 1
    branches = (TEACHER, *deployment.surfaces)
    finished = set.intersection(*(set(recorded_spans(place.records, branch)) for branch in branches))
    next_due = max((span + 1 for span in finished), default=first)
    if wanted is None:
        return [span for span in available if span >= next_due]
    _require(place, wanted, available, "--spans")
    if wanted[0] > next_due:
        raise BadInput(
            "span gap", where=f"--spans {wanted[0]}:{wanted[-1]}",
            expected=f"a range from span {next_due} or earlier",
            got=str(wanted[0]), fix="Warm start needs every span in order; begin where the last run ended.",
        )  # fmt: skip
    return [span for span in wanted if span >= next_due]


def _require(place: Place, spans: range, available: list[int], what: str) -> None:
    missing = [span for span in spans if span not in available]
    if missing:
        held = f"spans {available[0]} to {available[-1]}" if available else "no spans"
        raise BadInput(
            f"{what} needs span {missing[0]}", where=str(place.events),
            expected=f"spans {spans[0]} to {spans[-1]}",
            got=held, fix="Write the missing spans with `rankdistill events`, or change the range.",
        )  # fmt: skip


def _run(dag: pipeline.Pipeline, title: str, progress: Progress) -> None:
    with progress.stretch(title):
        LocalRunner(progress).run(dag)
