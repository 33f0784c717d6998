"""Runs a Beam pipeline with any runner, and returns its results or raises its error in the driver.

Only `run_and_collect` imports Beam and TensorFlow, so programs without Beam can use `find_bad_input`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from eventlog.errors import BadInput

_QUOTED = "eventlog.errors.BadInput: "
_BEAM_SUFFIX = " [while running"


def run_and_collect(build: Callable[[Any], Any], options: Sequence[str], folder: str) -> list[Any]:
    """Runs a pipeline to its end and returns the elements of one PCollection.

    The workers return the results in a file, because they share no memory with the driver.

    Args:
        build: takes the pipeline, returns a PCollection of JSON values, about one per shard.
        options: Beam's command line options, for example `["--runner=FnApiRunner"]`. DirectRunner first tries
            to download Prism and then falls back to FnApiRunner.
        folder: a folder in which driver and workers can write.

    Returns:
        The elements, in no particular order.

    Raises:
        BadInput: if a worker has raised it; without the text that Beam adds.
    """
    import apache_beam as beam
    import tensorflow as tf
    from apache_beam.options.pipeline_options import PipelineOptions

    manifest = f"{folder.rstrip('/')}/manifest-{uuid.uuid4().hex}.json"
    tf.io.gfile.makedirs(folder)
    try:
        with beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
            (
                build(pipeline)
                | "Collect" >> beam.combiners.ToList()
                | "Manifest" >> beam.Map(_write_manifest, manifest)
            )
        with tf.io.gfile.GFile(manifest) as file:
            results: list[Any] = json.load(file)
        return results
    except Exception as error:
        bad_input = find_bad_input(error)
        if bad_input is None:
            raise
        raise bad_input from None
    finally:
        if tf.io.gfile.exists(manifest):
            tf.io.gfile.remove(manifest)


def _write_manifest(results: list[Any], path: str) -> None:
    import tensorflow as tf

    partial = f"{path}.{uuid.uuid4().hex}"
    with tf.io.gfile.GFile(partial, "w") as file:
        json.dump(results, file)
    tf.io.gfile.rename(partial, path, overwrite=True)


def find_bad_input(error: BaseException) -> BadInput | None:
    """Returns the BadInput that caused an error, without the step name that Beam appends; else None.

    Some runners pass on a worker's error only as the text of another exception. Then the BadInput is rebuilt.
    """
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, BadInput):
            link.args = (str(link).partition(_BEAM_SUFFIX)[0],)
            return link
        for line in str(link).splitlines():
            _, from_message, text = line.partition(_QUOTED)
            if from_message:
                return BadInput.from_message(text.partition(_BEAM_SUFFIX)[0])
        link = link.__cause__ or link.__context__
    return None
