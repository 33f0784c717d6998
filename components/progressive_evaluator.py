"""ProgressiveEvaluator: how a surface's models do on a span that they have not seen."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Examples, Model

from components.artifacts import Predictions, ProgressiveFigures
from components.evaluation.predictions import (
    mature,
    predictions_schema,
    read_predictions,
    span_file,
    write_predictions,
)
from components.evaluation.progressive import progressive_figures
from components.transforms.scoring_rows import has_model, read_matured_labels, score_span
from components.transforms.shards import FRESH_SPLITS, MATURED_SPLITS, split_files
from eventlog.rows import MATURITY_SPANS
from models.settings import from_json
from models.state import STATE_FOLDER, read_record
from models.tasks import Task

FRESH = "fresh.parquet"
MATURED = "matured.parquet"
FIGURES = "figures.json"


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
    """Scores the last student and control on the span's rows before the next ones learn them.

    The teacher's predictions are the joined soft labels. Delayed tasks are scored at maturity with the
    predictions made when the row was fresh: a later model has seen the user inside the label's window.
    A control that has learnt other spans than the student counts as absent: their difference would tell of
    the spans, not of distillation.

    Args:
        examples: The surface's joined examples of the span.
        student: The last good student, or the empty marker.
        control: The last good control, or the empty marker.
        earlier_predictions: Of the last spans, or the empty marker.
        figures: This span's predictions beside their labels, and figures of the span alone.
        predictions: `earlier_predictions` with this span's added, and those of spans that nobody needs gone.
        span: The span.
        tasks: JSON of the tasks, by name.
        resamples: Bootstrap draws of clusters.
        min_positives: Below so many positives no interval is given.
        keep_spans: How many spans, this one included, `predictions` keeps at least; never fewer than are
            needed until delayed labels mature.
        seed: Of the draws.
    """
    chosen = from_json(dict[str, Task], tasks)
    peer = control.uri if _learnt_the_same(student.uri, control.uri) else None
    fresh = score_span(_files(examples.uri, FRESH_SPLITS), student.uri, peer, chosen)
    matured = _matured(Path(earlier_predictions.uri), _files(examples.uri, MATURED_SPLITS), span, chosen)
    write_predictions(fresh, Path(figures.uri) / FRESH)
    write_predictions(matured, Path(figures.uri) / MATURED)
    both = {span: fresh, span - MATURITY_SPANS: matured}
    Path(figures.uri, FIGURES).write_text(
        json.dumps(progressive_figures(both, chosen, resamples, seed, min_positives), indent=1)
    )
    num_kept = max(MATURITY_SPANS, keep_spans)
    _hand_on(Path(earlier_predictions.uri), Path(predictions.uri), range(span - num_kept + 1, span))
    write_predictions(fresh, Path(predictions.uri) / span_file(span))


def _learnt_the_same(student_uri: str, control_uri: str) -> bool:
    """Whether the models may be compared; where only one is there, there is nothing to compare."""
    if not (has_model(student_uri) and has_model(control_uri)):
        return True
    student, control = (read_record(f"{uri}/{STATE_FOLDER}").spans for uri in (student_uri, control_uri))
    return student == control


def _files(uri: str, splits: tuple[str, ...]) -> list[str]:
    return [path for split in splits for path in split_files(uri, split)]


def _matured(folder: Path, files: list[str], span: int, tasks: dict[str, Task]) -> pa.Table:
    kept = folder / span_file(span - MATURITY_SPANS)
    if not kept.exists():
        return predictions_schema(tasks).empty_table()
    return mature(read_predictions(kept, tasks), read_matured_labels(files, tasks)).table


def _hand_on(source: Path, target: Path, spans: range) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for span in spans:
        if (source / span_file(span)).exists():
            shutil.copy(source / span_file(span), target / span_file(span))
