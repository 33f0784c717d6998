"""Reads the record of a finished span and the files in its output artifacts.

Outside the components, only this module reads these files. It imports neither TFX nor TensorFlow, so that
`rankdistill status` starts fast.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pydantic
from google.protobuf.message import DecodeError
from tensorflow_metadata.proto.v0 import anomalies_pb2

from components.evaluation.candidate import CandidateVerdict
from components.evaluation.predictions import read_predictions
from components.evaluation.push_gate import GateVerdict
from components.label_store.certificate import FILE_NAME, Certificate, read_certificate
from components.output_files import (
    ANOMALIES_FILE,
    CANDIDATE_VERDICT_FILE,
    COMPARED_SPLIT,
    FIGURES_FILE,
    FRESH_FILE,
    GATE_VERDICT_FILE,
    LABEL_ANOMALIES_FILE,
    LABEL_REFUSAL_FILE,
    MATURED_FILE,
)
from components.span_records import SpanRecord, parse_record
from components.transforms.join_report import REPORT_FILE, JoinReport, read_join_report
from eventlog.errors import BadInput
from models.settings import from_json
from models.shard_names import SHARD_GLOB, parse_shard_name
from models.state import DEFERRED_FOLDER
from models.tasks import Task
from pipeline.paths import RunPaths

T = TypeVar("T")
_CLOCK_TOLERANCE_SECONDS = 60


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinishedSpan(SpanRecord):
    """A branch's record of a span, with methods that read the files in its output artifacts.

    If the branch has no such artifact or file, a method returns None or an empty container. Only predictions
    always exist: every surface writes them for a span that it does not skip.

    Attributes:
        time: Time when the span was finished, in Unix seconds.

    Raises:
        BadInput: from every method, if a file cannot be read.
    """

    time: float

    def certificate(self) -> Certificate | None:
        """The certificate of the published label set."""
        return self._read("labels", FILE_NAME, lambda path: read_certificate(path.parent))

    def label_refusal(self) -> str | None:
        """The reason why labels were not published."""
        return self._read("labels", LABEL_REFUSAL_FILE, lambda path: str(_read_json(path)["reason"]))

    def label_anomalies(self) -> Mapping[str, list[str]]:
        """Warnings about published labels, one list of lines per kind of anomaly."""
        return self._read("labels", LABEL_ANOMALIES_FILE, _read_json) or {}

    def join_report(self) -> JoinReport | None:
        """The row counts and the decision of the surface's join."""
        return self._read("examples", REPORT_FILE, lambda path: read_join_report(str(path.parent)))

    def candidate_verdict(self, role: str) -> CandidateVerdict | None:
        """The verdict on the candidate of a role."""
        return self._read(
            f"{role}_blessing",
            CANDIDATE_VERDICT_FILE,
            lambda path: from_json(CandidateVerdict, path.read_text()),
        )

    def gate_verdict(self) -> GateVerdict | None:
        """The verdict of the push gate."""
        return self._read("gate", GATE_VERDICT_FILE, lambda path: from_json(GateVerdict, path.read_text()))

    def figures(self) -> Mapping[str, Any]:
        """Progressive figures of the span, task -> role -> metric -> value; see `progressive_figures`."""
        return self._read("figures", FIGURES_FILE, _read_json) or {}

    def fresh_predictions(self, tasks: Mapping[str, Task]) -> pa.Table:
        """Predictions table of the span's fresh rows, see `components.evaluation.predictions`."""
        return read_predictions(Path(self.slots["figures"], FRESH_FILE), tasks)

    def matured_predictions(self, tasks: Mapping[str, Task]) -> pa.Table:
        """Predictions table of the span's matured rows; the models predicted them when they were fresh."""
        return read_predictions(Path(self.slots["figures"], MATURED_FILE), tasks)

    def deferred_spans(self, role: str) -> list[int]:
        """The deferred spans of a role's model, ascending."""
        if role not in self.slots:
            return []
        shards = Path(self.slots[role], DEFERRED_FOLDER).glob(f"Split-*/{SHARD_GLOB}")
        return sorted({parse_shard_name(shard.name).span for shard in shards})

    def anomalies(self) -> anomalies_pb2.Anomalies | None:
        """The anomalies of the fresh rows that models train on; not those of held-out or matured rows."""
        name = f"Split-{COMPARED_SPLIT}/{ANOMALIES_FILE}"
        return self._read(
            "anomalies", name, lambda path: anomalies_pb2.Anomalies.FromString(path.read_bytes())
        )

    def _read(self, slot: str, name: str, reader: Callable[[Path], T]) -> T | None:
        path = Path(self.slots[slot], name) if slot in self.slots else None
        if path is None or not path.is_file():
            return None
        try:
            return reader(path)
        except pydantic.ValidationError as error:
            fault = error.errors()[0]
            key = ".".join(map(str, fault["loc"]))
            raise _unreadable(path, "JSON with all fields", f"{key}: {fault['msg']}") from error
        except DecodeError as error:
            raise _unreadable(path, "TFDV's anomalies", str(error)) from error
        except (ValueError, KeyError, TypeError) as error:
            raise _unreadable(path, "JSON", str(error)) from error


def finished_spans(paths: RunPaths, branch: str) -> list[FinishedSpan]:
    """A branch's finished spans in order.

    Raises:
        BadInput: if a file is not a span record.
    """
    spans = [_finished_span(path) for path in Path(paths.records, branch).glob("span-*.json")]
    return sorted(spans, key=lambda finished: finished.span)


def require_artifacts(paths: RunPaths) -> None:
    """Checks the artifacts of each branch's newest record. Their paths are absolute: a root cannot be moved.

    Raises:
        BadInput: if an artifact is missing, or lies in another root and has a copy in this one.
    """
    for folder in sorted(Path(paths.records).glob("*/")):
        newest = max(folder.glob("span-*.json"), default=None)
        slots = _finished_span(newest).slots if newest is not None else {}
        for uri in slots.values():
            if "://" not in uri and not Path(uri).exists():
                raise BadInput(
                    "the root was moved, or lost an artifact", where=str(newest),
                    expected=f"the artifact {uri}", got="no such folder",
                    fix="Move the root back to the path where it was made, or restore the artifact.",
                )  # fmt: skip
            _, folder_name, inner = uri.rpartition("/artifacts/")
            copy = Path(paths.artifacts, inner)
            if folder_name and copy.exists() and not copy.samefile(uri):
                raise BadInput(
                    "the root was copied", where=str(paths.root), expected=f"the artifact {copy}",
                    got=f"a record that names {uri}",
                    fix="Work on the original root, or begin with a new --root.",
                )  # fmt: skip


def require_clock(paths: RunPaths) -> None:
    """Checks that the clock is not behind the last push.

    The version of a pushed model is the Unix time of its push. Servers load the highest version.

    Raises:
        BadInput: if the clock is behind the version of a pushed model.
    """
    for folder in sorted((paths.root / "serving").glob("*/*/")):
        if folder.name.isdigit() and int(folder.name) > time.time() + _CLOCK_TOLERANCE_SECONDS:
            raise BadInput(
                "the clock is behind", where=str(folder), expected="a time after the last push",
                got=f"{datetime.datetime.now():%Y-%m-%d %H:%M}",
                fix="Set the clock, or remove the folder if the clock was wrong when the model was pushed.",
            )  # fmt: skip


def _finished_span(path: Path) -> FinishedSpan:
    record = parse_record(path.read_bytes(), str(path))
    return FinishedSpan(**vars(record), time=path.stat().st_mtime)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def _unreadable(path: Path, expected: str, got: str) -> BadInput:
    return BadInput(
        "unreadable", where=str(path), expected=f"{expected}, as a finished step has written it",
        got=got, fix="Restore the file from a copy.",
    )  # fmt: skip
