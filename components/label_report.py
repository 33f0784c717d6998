"""LabelReport: a page for Kubeflow's UI about a span's label set and the teacher's verdict."""

import json
import os

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types.standard_artifacts import ModelBlessing

from components.artifacts import SoftLabels, SystemHtml, SystemMetrics
from components.evaluation.report_page import Table, render
from components.label_store.certificate import FILE_NAME, read_certificate
from components.output_files import LABEL_REFUSAL_FILE
from components.ui_artifacts import set_figures, write_page

_MS_PER_SECOND = 1000


@component
def LabelReport(
    labels: InputArtifact[SoftLabels],
    blessing: InputArtifact[ModelBlessing],
    report: OutputArtifact[SystemHtml],
    figures: OutputArtifact[SystemMetrics],
    span: Parameter[int],
) -> None:
    """Reports rows, coverage, label age and times of the span's label set, and the teacher's verdict.

    Args:
        labels: The span's label set, or the reason why none was published.
        blessing: Verdict on the teacher that trained on the span.
        report: The page.
        figures: `rows`, `coverage` (the lowest of all surfaces), `label_age_spans`, `label_seconds` (duration
            of the labelling) and `lag_seconds` (from the newest impression to the publication of the set; not
            the label lag). Without a label set, only `rows` and `coverage`, both 0.
        span: The span.
    """
    title = f"Labels of span {span}"
    teacher = Table("Teacher", ["verdict"], [[blessing.get_string_custom_property("reason")]])
    if not fileio.exists(os.path.join(labels.uri, FILE_NAME)):
        with fileio.open(os.path.join(labels.uri, LABEL_REFUSAL_FILE)) as file:
            reason = json.loads(file.read())["reason"]
        write_page(report, render(title, [Table("No labels", ["reason"], [[reason]]), teacher]))
        set_figures(figures, {"rows": 0.0, "coverage": 0.0})
        return
    certificate = read_certificate(labels.uri)
    lag_ms = certificate.published_ms - certificate.event_ms if certificate.event_ms else 0
    set_figures(
        figures,
        {
            "rows": float(certificate.rows),
            "coverage": min(certificate.coverage.values(), default=0.0),
            "label_age_spans": float(certificate.label_age_spans),
            "label_seconds": certificate.seconds,
            "lag_seconds": lag_ms / _MS_PER_SECOND,
        },
    )
    label_set = Table(
        "Label set",
        ["set", "rows", "label age (spans)", "seconds"],
        [[certificate.set_id, certificate.rows, certificate.label_age_spans, certificate.seconds]],
    )
    surfaces = Table("Coverage", ["surface", "coverage"], [list(row) for row in certificate.coverage.items()])
    write_page(report, render(title, [label_set, surfaces, teacher]))
