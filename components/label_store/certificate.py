"""Certificate of a label set: the JSON file in a labels artifact that describes the set."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from components.label_store.base import LabelSetRecord
from eventlog.errors import BadInput
from models.settings import from_json, to_json

FILE_NAME = "certificate.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Certificate:
    """Description of the label set that an artifact represents.

    Attributes:
        set_id: id of the published set, which may come from an earlier attempt.
        teacher: name of the teacher.
        teacher_version: version of the model that gave the labels.
        span: the labelled span.
        span_version: version of the span.
        revision: revision of the set.
        feature_version: feature version of the teacher.
        rows: number of label rows.
        coverage: surface → labelled fresh examples over fresh examples, in [0, 1].
        label_age_spans: number of spans the teacher was behind the span.
        seconds: duration of the labelling.
        event_ms: time of the newest labelled impression, Unix milliseconds; 0 if there are no rows.
            `event_ms`, `ready_ms` and `labelled_ms` are also 0 if the record lacks them.
        ready_ms: time when the span's examples were complete.
        labelled_ms: time when all labels were staged.
        published_ms: time of publication.
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
    """Builds the certificate of a published set.

    Args:
        record: record of the set.
        examples_per_surface: surface → number of fresh examples in the span.
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
        BadInput: if the folder has no certificate.
    """
    path = Path(folder) / FILE_NAME
    if not path.exists():
        raise BadInput(
            "no certificate",
            where=str(path),
            expected="the folder of a labels artifact",
            got="no such file",
            fix="Label the span again.",
        )
    return from_json(Certificate, path.read_text())
