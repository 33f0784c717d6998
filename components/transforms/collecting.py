"""Runs a Beam pipeline with any runner; returns the results, or raises a worker's error, in the driver.

Beam and TensorFlow are imported inside the functions that need them, so programs without Beam can use
`find_bad_input`.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from eventlog.errors import BadInput

_BEAM_SUFFIX = " [while running"
"""Beam appends this text and the name of the step to a worker's error."""


def run_and_collect(build: Callable[[Any], Any], options: Sequence[str], folder: str) -> list[Any]:
    """Runs a pipeline to its end and returns the elements of one PCollection.

    A worker writes the results to a file, because workers and driver share no memory.

    Args:
        build: adds the steps to a Beam pipeline; returns a PCollection of JSON values, about one per shard.
        options: Beam's command line options, for example `["--runner=FnApiRunner"]`. DirectRunner first tries
            to download the runner Prism, then uses FnApiRunner.
        folder: a folder that driver and workers share.

    Returns:
        The elements, in no particular order.

    Raises:
        BadInput: if a worker has raised BadInput. The message is without the text that Beam adds.
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
    """Returns the BadInput that caused an error, without the text that Beam appends; None if there is none.

    Some runners pass on a worker's error only as the text of another exception. Then this function builds the
    BadInput, or the subclass that the text names, from the text.
    """
    classes = _classes_by_name(BadInput)
    named_error = re.compile(f"({'|'.join(map(re.escape, classes))}): (.*)")
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BadInput):
            cause.args = (str(cause).partition(_BEAM_SUFFIX)[0],)
            return cause
        for line in str(cause).splitlines():
            match = named_error.search(line)
            if match:
                name, message = match.groups()
                return classes[name].from_message(message.partition(_BEAM_SUFFIX)[0])
        cause = cause.__cause__ or cause.__context__
    return None


def _classes_by_name(error_class: type[BadInput]) -> dict[str, type[BadInput]]:
    """Returns full name (module and class) → class, for a class and all its imported subclasses."""
    classes = {f"{error_class.__module__}.{error_class.__qualname__}": error_class}
    for subclass in error_class.__subclasses__():
        classes |= _classes_by_name(subclass)
    return classes
