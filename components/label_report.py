"""LabelReport: what the teacher did with a span, for Kubeflow's UI."""

import json
import os

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types.standard_artifacts import ModelBlessing

from components.artifacts import SoftLabels, SystemHtml, SystemMetrics
from components.evaluation.report_page import Table, render
from components.label_store.certificate import FILE_NAME, read_certificate
from components.soft_label_bulk_inferrer import REFUSAL_FILE
from components.ui_artifacts import set_figures, write_page

_MS = 1000


@component
def LabelReport(
    labels: InputArtifact[SoftLabels],
    blessing: InputArtifact[ModelBlessing],
    report: OutputArtifact[SystemHtml],
    figures: OutputArtifact[SystemMetrics],
    span: Parameter[int],
) -> None:
    """Reports rows, coverage, age and lag of the span's label set, and the teacher's verdict.

    Args:
        labels: The span's, or why there are none.
        blessing: Of the teacher that learnt the span.
        report: A page.
        figures: `rows`, `coverage` (least of the surfaces), `label_age_spans`, `label_seconds`,
            `lag_seconds` from the newest impression to the set being visible.
        span: The span.
    """
    reason = blessing.get_string_custom_property("reason")
    verdict = Table("Teacher", ["verdict"], [[reason]])
    if not fileio.exists(os.path.join(labels.uri, FILE_NAME)):
        with fileio.open(os.path.join(labels.uri, REFUSAL_FILE)) as file:
            refused = json.loads(file.read())["reason"]
        write_page(
            report, render(f"Labels of span {span}", [Table("No labels", ["why"], [[refused]]), verdict])
        )
        set_figures(figures, {"rows": 0.0, "coverage": 0.0})
        return
    known = read_certificate(labels.uri)
    set_figures(
        figures,
        {
            "rows": float(known.rows),
            "coverage": min(known.coverage.values(), default=0.0),
            "label_age_spans": float(known.label_age_spans),
            "label_seconds": known.seconds,
            "lag_seconds": (known.published_ms - known.event_ms) / _MS if known.event_ms else 0.0,
        },
    )
    the_set = Table(
        "Label set",
        ["set", "rows", "label age (spans)", "seconds"],
        [[known.set_id, known.rows, known.label_age_spans, known.seconds]],
    )
    surfaces = Table("Coverage", ["surface", "labelled share"], [list(row) for row in known.coverage.items()])
    write_page(report, render(f"Labels of span {span}", [the_set, surfaces, verdict]))
