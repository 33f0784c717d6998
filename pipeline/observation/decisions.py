"""What a run has decided, branch by branch and span by span, as its finished steps have left it in files.

Nothing here imports TFX or TensorFlow, so that `rankdistill status` answers at once; only anomalies of a
span, which are rare, are put into words by the validator that found them.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from tensorflow_metadata.proto.v0 import anomalies_pb2

from components.span_records import RELABELLED, TEACHER, SpanRecord
from eventlog.errors import BadInput
from pipeline.config import Deployment
from pipeline.paths import RunPaths

What = Literal["span", "data", "labels", "join", "candidate", "push", "restated"]
_Found = tuple[What, str, str]

_ORDINARY = ("published", "joined", "blessed", "pushed")
_SET_ID = re.compile(r"[\w-]+\.[\w-]+\.span-0*(\d+)\.\d+\.[0-9a-f]{12}")


@dataclasses.dataclass(frozen=True)
class Decision:
    """One decision. It names no set, no time and no folder, so that runs of the same data can be compared.

    Attributes:
        span: Of which it was made.
        branch: `teacher`, a surface, or `relabelled`.
        what: `span` (skipped), `data` (warned, one an anomaly), `labels` (published, refused, warned), `join`
            (joined, hard-only, last), `candidate` (blessed, discarded), `push` (pushed, held back; of blessed
            candidates alone), `restated` (labelled again, not labelled; nobody learns it).
        outcome: One of those in brackets.
        reason: One line; a candidate's begins with its role, a push's says what it rests on.
    """

    span: int
    branch: str
    what: What
    outcome: str
    reason: str

    @property
    def is_ordinary(self) -> bool:
        """Whether it is what happens when all is well; a person should see the others."""
        return self.outcome in _ORDINARY


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finished(SpanRecord):
    """A branch's record of a span, and when it was written.

    Attributes:
        time: When the span was finished, Unix seconds.
    """

    time: float


def decisions(deployment: Deployment, paths: RunPaths, *, data: bool = True) -> list[Decision]:
    """All decisions of which the files still lie there, by span, then branch in the order of the DAG.

    Args:
        deployment: Names the surfaces.
        paths: Where the run keeps what.
        data: False leaves out the `data`, since it takes TFX (25 s) to put an anomaly into words.

    Raises:
        BadInput: if a record or a file beside an artifact cannot be read.
    """
    branches = (TEACHER, *deployment.surfaces, RELABELLED)
    records = {branch: finished(paths, branch) for branch in branches}
    taught = {record.span: record for record in records[TEACHER]}
    found = []
    for branch, of_branch in records.items():
        for record in of_branch:
            outcomes = [*_outcomes(record, data)]
            if branch == RELABELLED and not record.skipped:
                outcomes += _restated(record, taught.get(record.span))
            found += [
                Decision(record.span, branch, what, outcome, _comparable(reason, paths))
                for what, outcome, reason in outcomes
            ]
    return sorted(found, key=lambda decision: (decision.span, branches.index(decision.branch)))


def finished(paths: RunPaths, branch: str) -> list[Finished]:
    """A branch's records in the order of their spans.

    Raises:
        BadInput: if a file is not a record.
    """
    records = [_finished(path) for path in Path(paths.records, branch).glob("span-*.json")]
    return sorted(records, key=lambda record: record.span)


def read_beside(record: Finished, slot: str, name: str) -> Any:
    """The JSON of a file in a slot's artifact; None if there is no such slot or file.

    Raises:
        BadInput: if it is no JSON.
    """
    path = Path(record.slots[slot], name) if slot in record.slots else None
    return _json(path) if path is not None and path.is_file() else None


def _outcomes(record: Finished, data: bool) -> Iterator[_Found]:
    if record.skipped:
        yield "span", "skipped", record.skipped
    if data and "anomalies" in record.slots:
        yield from _data(Path(record.slots["anomalies"], "Split-train", "SchemaDiff.pb"))
    if (refusal := read_beside(record, "labels", "refusal.json")) is not None:
        yield "labels", "refused", refusal["reason"]
    if (certificate := read_beside(record, "labels", "certificate.json")) is not None:
        reason = f"{certificate['rows']} rows, the teacher {certificate['label_age_spans']} spans behind"
        yield "labels", "published", reason
    for kind, lines in (read_beside(record, "labels", "anomalies.json") or {}).items():
        yield from (("labels", "warned", f"{kind}: {line}") for line in lines)
    if (report := read_beside(record, "examples", "join_report.json")) is not None:
        yield "join", report["decision"], report["reason"] or f"coverage {report['coverage']:.4f}"
    verdicts = {
        role: read_beside(record, f"{role}_blessing", "verdict.json")
        for role in ("teacher", "student", "control")
    }
    for role, verdict in verdicts.items():
        if verdict is not None:
            outcome = "blessed" if verdict["blessed"] else "discarded"
            yield "candidate", outcome, f"{role}: {verdict['reason']}"
    if verdicts["student"] is not None and verdicts["student"]["blessed"]:
        yield _push(record)


def _push(record: Finished) -> _Found:
    gate = read_beside(record, "gate", "gate.json")
    if gate is None:
        return "push", "pushed", "rests on the candidate check: the surface has no gate"
    outcome = "pushed" if gate["push"] else "held back"
    return "push", outcome, f"rests on the {gate['rests_on']}: {gate['reason']}"


def _data(path: Path) -> Iterator[_Found]:
    if not path.is_file():
        return
    anomalies = anomalies_pb2.Anomalies.FromString(path.read_bytes())
    if anomalies.anomaly_info or anomalies.data_missing:
        # Imported when there is something to say: it costs 25 s.
        from components.span_validator import describe

        for kind, lines in describe(anomalies).items():
            yield from (("data", "warned", f"{kind}: {line}") for line in lines)


def _restated(record: Finished, known: Finished | None) -> Iterator[_Found]:
    """A span that is late or re-stated; a backfill, of a span that was learnt as it is, is no decision."""
    if known is None or known.skipped or record.version > known.version:
        is_labelled = read_beside(record, "labels", "certificate.json") is not None
        reason = f"version {record.version}, which nobody learns"
        yield "restated", "labelled again" if is_labelled else "not labelled", reason


def _comparable(reason: str, paths: RunPaths) -> str:
    """The reason without what differs between two runs: folders and the ids of label sets."""
    reason = reason.replace(str(paths.events), "the log")
    for root in (paths.root, paths.teacher_root):
        if root is not None:
            # To its end, since an artifact's folder is called by the number of the step that made it.
            reason = re.sub(rf"{re.escape(str(root))}(?![\w-])[^\s:,']*", "the root", reason)
    return _SET_ID.sub(r"of span \1", reason)


def _finished(path: Path) -> Finished:
    try:
        return Finished(**_json(path), time=path.stat().st_mtime)
    except TypeError as error:
        raise _unreadable(path, "span, version, slots and skipped", str(error)) from error


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise _unreadable(path, "JSON", str(error)) from error


def _unreadable(path: Path, expected: str, got: str) -> BadInput:
    return BadInput(
        "unreadable", where=str(path), expected=f"{expected}, as a finished step has written it",
        got=got, fix="Restore the file from a copy.",
    )  # fmt: skip
