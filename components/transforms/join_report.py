"""Join report: a file with the row counts and the decision of a join, beside the joined examples."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

REPORT_FILE = "join_report.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class JoinReport:
    """Row counts of a join, and how models train on the span (see the setting `without_labels`).

    Attributes:
        surface: the surface.
        fresh_rows: number of fresh rows.
        labelled_fresh_rows: number of fresh rows with a soft label.
        matured_rows: number of matured rows; coverage does not count them.
        labelled_matured_rows: number of matured rows with a soft label.
        labels_without_example: number of label rows of the surface without an example.
        decision: `joined`: models train with soft labels. `hard-only`: fresh rows have no soft labels,
            matured rows keep theirs.
            `last`: models do not train on the span, and the last models are kept.
        reason: the reason for `hard-only` or `last`; else empty.
        label_sets: ids of the joined label sets: of the span, if `decision` is `joined`, then of the earlier
            spans that have matured rows in this span. Only `read_join_report` fills this field.
    """

    surface: str
    fresh_rows: int = 0
    labelled_fresh_rows: int = 0
    matured_rows: int = 0
    labelled_matured_rows: int = 0
    labels_without_example: int = 0
    decision: Literal["joined", "hard-only", "last"] = "joined"
    reason: str = ""
    label_sets: tuple[str, ...] = dataclasses.field(default=(), compare=False)

    @property
    def coverage(self) -> float:
        """Labelled fresh rows over fresh rows, in [0, 1]; 1 if there are no fresh rows."""
        return self.labelled_fresh_rows / self.fresh_rows if self.fresh_rows else 1.0


def write_report(report: JoinReport, uri: str, set_ids: Sequence[str]) -> None:
    """Writes the report and the ids of the joined sets into an Examples artifact's folder."""
    # Imported here: quick commands only read reports.
    import tensorflow as tf

    fields = {**dataclasses.asdict(report), "coverage": report.coverage, "label_sets": list(set_ids)}
    with tf.io.gfile.GFile(f"{uri.rstrip('/')}/{REPORT_FILE}", "w") as file:
        json.dump(fields, file, indent=2)


def read_join_report(uri: str) -> JoinReport:
    """Reads the report from an Examples artifact's folder, see `write_report`."""
    fields = json.loads(Path(uri, REPORT_FILE).read_text())
    fields["label_sets"] = tuple(fields["label_sets"])
    return JoinReport(**{field.name: fields[field.name] for field in dataclasses.fields(JoinReport)})
