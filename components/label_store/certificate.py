"""Certificate: the JSON file in a SoftLabels artifact that describes the published label set."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pydantic

from components.label_store.base import LabelSetRecord
from eventlog.errors import BadInput
from models.settings import from_json, to_json

FILE_NAME = "certificate.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Certificate:
    """Facts about a published label set, stored in the artifact. The rows are in the label store.

    Attributes:
        set_id: id of the published set. If another attempt was published first, the id of that attempt.
        teacher: name of the teacher.
        teacher_version: version of the teacher that labelled the span.
        span: the labelled span.
        span_version: version of the labelled span.
        revision: revision of the set.
        feature_version: feature version of the teacher.
        rows: number of label rows.
        coverage: surface → share of its fresh rows that have a soft label, in [0, 1].
        label_age_spans: label age: `span` minus the last span on which the teacher has trained.
        seconds: duration of the labelling.
        event_ms: time of the newest labelled impression, Unix milliseconds; 0 if there are no rows, or if
            unknown. In a span of more than 100,000 rows, only a sample of the rows is examined.
        ready_ms: time when the span's examples were complete, Unix milliseconds; 0 if unknown.
        labelled_ms: time when all labels were staged and checked, Unix milliseconds; 0 if unknown.
        published_ms: time of publication, Unix milliseconds.
    """

    set_id: str
    teacher: str
    teacher_version: str
    span: int
    span_version: int
    revision: int
    feature_version: str
    rows: int
    coverage: dict[str, float]
    label_age_spans: int
    seconds: float
    event_ms: int
    ready_ms: int
    labelled_ms: int
    published_ms: int


def certify(record: LabelSetRecord, examples_per_surface: Mapping[str, int]) -> Certificate:
    """Builds the certificate of a published set from its record.

    Args:
        record: record of the set.
        examples_per_surface: surface → number of fresh rows of the span. Surfaces with 0 rows are left out.
    """
    return Certificate(
        set_id=record.set_id,
        teacher=record.key.teacher,
        teacher_version=record.key.teacher_version,
        span=record.key.span,
        span_version=record.key.span_version,
        revision=record.revision,
        feature_version=record.facts.feature_version,
        rows=record.rows,
        coverage={
            surface: record.rows_per_surface.get(surface, 0) / examples
            for surface, examples in sorted(examples_per_surface.items())
            if examples
        },
        label_age_spans=record.facts.label_age_spans,
        seconds=record.facts.seconds,
        **{name: int(record.facts.extra.get(name, 0)) for name in ("event_ms", "ready_ms", "labelled_ms")},
        published_ms=record.created_ms,
    )


def write_certificate(certificate: Certificate, folder: str | Path) -> None:
    """Writes `certificate.json` into an artifact's folder; creates the folder if needed."""
    path = Path(folder) / FILE_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_json(certificate))


def read_certificate(folder: str | Path) -> Certificate:
    """Reads the certificate that `write_certificate` wrote.

    Raises:
        BadInput: if the folder has no certificate, or the certificate is not valid.
    """
    path = Path(folder) / FILE_NAME
    if not path.exists():
        raise BadInput(
            "no certificate",
            where=str(path),
            expected="the folder of a SoftLabels artifact",
            got="no such file",
            fix="Label the span again.",
        )
    try:
        return from_json(Certificate, path.read_bytes())
    except pydantic.ValidationError as error:
        raise BadInput(
            "unreadable certificate",
            where=str(path),
            expected="the certificate that SoftLabelBulkInferrer wrote",
            got=" ".join(str(error).split())[:300],
            fix="Label the span again.",
        ) from error
