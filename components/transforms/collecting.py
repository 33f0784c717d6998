"""Runs a Beam pipeline and brings its few results back to the driver, under any runner."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions

from eventlog.errors import BadInput


def run_and_collect(build: Callable[[Any], Any], options: Sequence[str], folder: str) -> list[Any]:
    """Runs a pipeline to its end and returns what one PCollection of it held.

    The results travel through one file: a runner's workers share no memory with the driver.

    Args:
        build: takes the pipeline, returns a PCollection of a few JSON-able elements, one a shard or so.
        options: Beam's command line options, for example `["--runner=FnApiRunner"]`; DirectRunner
            first tries to download Prism and then falls back to the same.
        folder: where driver and workers can both write.

    Returns:
        The elements, in no particular order.

    Raises:
        BadInput: if a worker raised one; the runner's own wrapping is taken off.
    """
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
        bad_input = _find_bad_input(error)
        if bad_input is None:
            raise
        raise bad_input from None
    finally:
        if tf.io.gfile.exists(manifest):
            tf.io.gfile.remove(manifest)


def _write_manifest(results: list[Any], path: str) -> None:
    partial = f"{path}.{uuid.uuid4().hex}"
    with tf.io.gfile.GFile(partial, "w") as file:
        json.dump(results, file)
    tf.io.gfile.rename(partial, path, overwrite=True)


def _find_bad_input(error: BaseException) -> BadInput | None:
    for link in _chain(error):
        if isinstance(link, BadInput):
            # Beam appends the name of the step to the text; the user has no use for it.
            link.args = (str(link).split(" [while running")[0],)
            return link
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
