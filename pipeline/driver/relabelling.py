"""Names the runs that label past spans, and finds those whose labels were refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from components.label_store.base import LabelSetRecord
from components.span_records import RELABELLED, read_record, recorded_spans
from eventlog.errors import BadInput
from models.settings import to_json
from pipeline.observation.finished_spans import finished_spans
from pipeline.paths import RunPaths


def relabelling_name(
    paths: RunPaths, span: int, version: int, superseded: LabelSetRecord | None = None
) -> str:
    """The part of the run id that differs between runs.

    A completed run gives the next run another name, because its nodes would be skipped under the same one. An
    interrupted run keeps its name, so that it resumes.

    Args:
        paths: the paths of the run.
        span: the span.
        version: the span version.
        superseded: the newest label set of the span version; None if there is none, or if it is kept.
    """
    suffix = ""
    if superseded is not None:
        # The set's revision would not be enough: revisions start at 1 for each teacher version.
        suffix = f"-after-{superseded.set_id}"
    elif span in recorded_spans(paths.records, RELABELLED):
        # An earlier run has labelled this version, and `labels gc` has deleted its set.
        record = read_record(paths.records, RELABELLED, span)
        if record.version == version and not record.skipped:
            suffix = f"-after-{hashlib.sha256(to_json(record).encode()).hexdigest()[:12]}"
    return f"relabel-{span:05d}-v{version}{suffix}"


def refused_labels(paths: RunPaths, spans: Iterable[int]) -> dict[int, BadInput]:
    """The spans among `spans` whose last labels were refused: span → the reason."""
    if not Path(paths.records, RELABELLED).is_dir():
        return {}
    wanted = set(spans)
    return {
        finished.span: BadInput(
            "no labels published",
            where=f"span {finished.span}",
            expected="labels that pass their checks",
            got=reason,
            fix="Repair the span or the teacher, then use `rankdistill backfill` again.",
        )
        for finished in finished_spans(paths, RELABELLED)
        if finished.span in wanted and (reason := finished.label_refusal()) is not None
    }
