"""TrainingDeferral: a model that does not learn a span now carries it along and learns it later."""

import os

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types.standard_artifacts import Examples, Model
from tfx.utils import io_utils

from components.transforms.shards import TRAINED_SPLITS, split_files, split_folder
from models.state import UNLEARNED_FOLDER


@component
def TrainingDeferral(
    model: InputArtifact[Model],
    examples: InputArtifact[Examples],
    good_model: OutputArtifact[Model],
) -> None:
    """Stands where a Trainer and its CandidateCheck would: for a control that is trained every k-th span.

    Args:
        model: The last good one, or the empty marker.
        examples: The span's.
        good_model: A copy of `model` with the span's shards added under `unlearned/`.
    """
    hand_on(model.uri, examples.uri, good_model.uri)


def hand_on(model_uri: str, examples_uri: str, target_uri: str) -> None:
    """Copies a Model artifact and adds to it the shards of a span that it has not learnt.

    Args:
        model_uri: The model (or the marker), with the spans that it has not learnt so far.
        examples_uri: The span's Examples; the splits that are trained on are taken.
        target_uri: Where the copy goes; it is made if it is missing.
    """
    io_utils.copy_dir(model_uri, target_uri)
    for split in TRAINED_SPLITS:
        folder = split_folder(os.path.join(target_uri, UNLEARNED_FOLDER), split)
        fileio.makedirs(folder)
        for path in split_files(examples_uri, split):
            fileio.copy(path, os.path.join(folder, path.rpartition("/")[2]), overwrite=True)
