"""TrainingDeferral: stores a span's examples beside a model that will train on them later."""

import os

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types.standard_artifacts import Examples, Model
from tfx.utils import io_utils

from components.transforms.shards import TRAINED_SPLITS, split_files, split_folder
from models.state import DEFERRED_FOLDER


@component
def TrainingDeferral(
    model: InputArtifact[Model],
    examples: InputArtifact[Examples],
    next_base: OutputArtifact[Model],
) -> None:
    """Replaces Trainer and CandidateCheck of a control in spans on which the control does not train yet.

    Args:
        model: The last good model, or the empty marker.
        examples: Examples of the span.
        next_base: A copy of `model` with the span's shards added under `unlearned/`.
    """
    defer_span(model.uri, examples.uri, next_base.uri)


def defer_span(model_uri: str, examples_uri: str, target_uri: str) -> None:
    """Copies a Model artifact and adds the shards of one more deferred span.

    Args:
        model_uri: URI of the model (or empty marker), with the shards of earlier deferred spans.
        examples_uri: URI of the span's Examples; only the splits on which models train are copied.
        target_uri: URI of the copy; created if missing.
    """
    io_utils.copy_dir(model_uri, target_uri)
    for split in TRAINED_SPLITS:
        folder = split_folder(os.path.join(target_uri, DEFERRED_FOLDER), split)
        fileio.makedirs(folder)
        for path in split_files(examples_uri, split):
            fileio.copy(path, os.path.join(folder, path.rpartition("/")[2]), overwrite=True)
