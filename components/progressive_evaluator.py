"""ProgressiveEvaluator: scores a surface's models on a span before they train on it."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Examples, Model

from components.artifacts import Predictions, ProgressiveFigures
from components.evaluation.predictions import (
    join_matured_labels,
    predictions_schema,
    read_predictions,
    span_file,
    write_predictions,
)
from components.evaluation.progressive import progressive_figures
from components.output_files import FIGURES_FILE, FRESH_FILE, MATURED_FILE
from components.transforms.scoring_rows import has_model, read_matured_labels, score_span
from components.transforms.shards import FRESH_SPLITS, MATURED_SPLITS, split_files
from eventlog.rows import IMPRESSION_SPAN
from models.settings import from_json
from models.state import STATE_FOLDER, read_state_record
from models.tasks import Task


@component
def ProgressiveEvaluator(
    examples: InputArtifact[Examples],
    student: InputArtifact[Model],
    control: InputArtifact[Model],
    earlier_predictions: InputArtifact[Predictions],
    figures: OutputArtifact[ProgressiveFigures],
    predictions: OutputArtifact[Predictions],
    span: Parameter[int],
    tasks: Parameter[str],
    resamples: Parameter[int],
    min_positives: Parameter[int],
    keep_spans: Parameter[int],
    seed: Parameter[int],
) -> None:
    """Scores the last good student and control on the span's rows before the next models train on these rows.

    The teacher's predictions are the joined soft labels. A delayed task is evaluated when its labels mature,
    with the predictions from the row's own span: a later model may have trained on events in the label's
    window. If student and control have trained on different spans, the control is left out: their difference
    would not measure distillation.

    Args:
        examples: The surface's joined examples of the span.
        student: The last good student, or the empty marker.
        control: The last good control, or the empty marker.
        earlier_predictions: Predictions of earlier spans, or the empty marker.
        figures: Predictions and labels of this span, and the figures computed from them.
        predictions: This span's predictions, and those of `earlier_predictions` that are still needed.
        span: The span.
        tasks: JSON of name → task.
        resamples: Number of bootstrap draws of clusters; 0 for no intervals.
        min_positives: Binary tasks with fewer positives have no interval.
        keep_spans: Number of the newest spans to keep in `predictions`, including this span. Spans whose
            delayed labels have not matured are always kept.
        seed: Seed of the draws.
    """
    tasks_by_name = from_json(dict[str, Task], tasks)
    earlier = Path(earlier_predictions.uri)
    control_uri = control.uri if _trained_on_same_spans(student.uri, control.uri) else None
    fresh = score_span(_split_paths(examples.uri, FRESH_SPLITS), student.uri, control_uri, tasks_by_name)
    matured_by_span = join_matured(earlier, _split_paths(examples.uri, MATURED_SPLITS), span, tasks_by_name)
    no_rows = predictions_schema(tasks_by_name).empty_table()
    matured = pa.concat_tables([no_rows, *matured_by_span.values()])
    write_predictions(fresh, Path(figures.uri) / FRESH_FILE)
    write_predictions(matured, Path(figures.uri) / MATURED_FILE)
    tables = {span: fresh, **matured_by_span}
    Path(figures.uri, FIGURES_FILE).write_text(
        json.dumps(progressive_figures(tables, tasks_by_name, resamples, seed, min_positives), indent=1)
    )
    num_spans = max(keep_spans, *(task.delay for task in tasks_by_name.values()))
    _copy_spans(earlier, Path(predictions.uri), range(span - num_spans + 1, span))
    write_predictions(fresh, Path(predictions.uri) / span_file(span))


def _trained_on_same_spans(student_uri: str, control_uri: str) -> bool:
    """Whether student and control have trained on the same spans; True if one of them is missing."""
    if not (has_model(student_uri) and has_model(control_uri)):
        return True
    student, control = (
        read_state_record(f"{uri}/{STATE_FOLDER}").spans for uri in (student_uri, control_uri)
    )
    return student == control


def _split_paths(uri: str, splits: tuple[str, ...]) -> list[str]:
    return [path for split in splits for path in split_files(uri, split)]


def join_matured(earlier: Path, files: list[str], span: int, tasks: dict[str, Task]) -> dict[int, pa.Table]:
    """Joins the delayed labels of a span with the earlier predictions of their impressions.

    Args:
        earlier: Folder with the predictions of earlier spans.
        files: Shards of the span's joined matured examples.
        span: The span whose log brings the labels.
        tasks: Name → task.

    Returns:
        Span of the impressions → predictions table of their matured rows, by ascending span. A span without
        earlier predictions is left out.

    Raises:
        BadInput: see `join_matured_labels`.
    """
    labels = read_matured_labels(files, tasks)
    joined = {}
    for impression_span in sorted({span - task.delay for task in tasks.values() if task.delay}):
        predictions = earlier / span_file(impression_span)
        if predictions.exists():
            is_of_span = pc.equal(labels[IMPRESSION_SPAN], impression_span)
            fresh = read_predictions(predictions, tasks)
            joined[impression_span] = join_matured_labels(fresh, labels.filter(is_of_span))
    return joined


def _copy_spans(source: Path, target: Path, spans: range) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for span in spans:
        if (source / span_file(span)).exists():
            shutil.copy(source / span_file(span), target / span_file(span))
