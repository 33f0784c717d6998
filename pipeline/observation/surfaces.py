"""Finds surfaces of the event log that the deployment does not name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from eventlog.spans import count_surfaces, span_versions
from pipeline.config import Deployment

_MAX_LISTED_SURFACES = 3


def surfaces_without_student(deployment: Deployment, events: Path, spans: Iterable[int]) -> dict[str, float]:
    """Returns the share of all rows for each surface that has no student, largest first.

    Args:
        deployment: The configuration; its surfaces have a student, also under an earlier name.
        events: The event log.
        spans: The spans to read; a span that the log no longer has is left out.

    Returns:
        Surface -> share of all rows, in (0, 1]; empty if every surface has a student.
    """
    logged_spans = span_versions(events)
    counts = count_surfaces(events, [span for span in spans if span in logged_spans])
    num_rows = sum(counts.values())
    known = {*deployment.surfaces, *(surface.was for surface in deployment.surfaces.values())}
    return {name: count / num_rows for name, count in counts.items() if name not in known}


def describe_shares(shares: Mapping[str, float]) -> str:
    """Returns one line: the three largest surfaces with their share of the rows, then the rest together."""
    listed = [f"{name} ({share:.1%} of the rows)" for name, share in [*shares.items()][:_MAX_LISTED_SURFACES]]
    rest = [*shares.values()][_MAX_LISTED_SURFACES:]
    return ", ".join([*listed, f"{len(rest)} more ({sum(rest):.1%})"] if rest else listed)
