"""Span records: one JSON file per branch and finished span, from which later spans start.

A branch is `teacher`, a surface, a burn-in or the relabelling. The record of span N has the URIs of the
artifacts that later spans need. A *slot* is an artifact's use, such as `student`. The last step of the span
writes the record under a temporary name and renames it. An interrupted span has no record.

Functions import TFX's fileio only when called, because fileio imports TensorFlow. So commands that import
this module start quickly.
"""

import dataclasses
import json
import os
import re
import uuid
from collections.abc import Mapping

from eventlog.errors import BadInput

BURN_IN = "bootstrap"  # The value must not change: it is the name of a folder in existing roots.
TEACHER = "teacher"
RELABELLED = "relabelled"
"""The branch that labels revised spans, and past spans that have no labels."""


def surface_burn_in(surface: str) -> str:
    """Returns the name of the branch of a surface's burn-in."""
    return f"{BURN_IN}-{surface}"


_RECORD_NAME = re.compile(r"span-(\d+)\.json$")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpanRecord:
    """Outcome of one span in one branch.

    Attributes:
        span: The span.
        version: The span version that the branch read.
        slots: Slot → URI of the artifact; empty for a skipped span.
        skipped: Reason why the branch skipped the span; empty if it did not.
    """

    span: int
    version: int = 0
    slots: Mapping[str, str] = dataclasses.field(default_factory=dict)
    skipped: str = ""


def write_record(records_folder: str, branch: str, record: SpanRecord) -> None:
    """Writes a span's record.

    Args:
        records_folder: Folder or object-store prefix of all span records.
        branch: The branch.
        record: The record.
    """
    from tfx.dsl.io import fileio

    folder = os.path.join(records_folder, branch)
    fileio.makedirs(folder)
    path = os.path.join(folder, f"span-{record.span:05d}.json")
    # The temporary name must not match _RECORD_NAME: a listing may see it.
    partial = f"{path}.{uuid.uuid4().hex}"
    with fileio.open(partial, "w") as file:
        file.write(json.dumps(dataclasses.asdict(record), indent=1, sort_keys=True))
    fileio.rename(partial, path, overwrite=True)


def recorded_spans(records_folder: str, branch: str) -> list[int]:
    """Returns the finished spans of a branch, ascending."""
    from tfx.dsl.io import fileio

    folder = os.path.join(records_folder, branch)
    if not fileio.exists(folder):
        return []
    matches = (_RECORD_NAME.search(str(name)) for name in fileio.listdir(folder))
    return sorted(int(match.group(1)) for match in matches if match)


def read_record(records_folder: str, branch: str, span: int) -> SpanRecord:
    """Reads one record.

    Raises:
        BadInput: if the file is missing or is not a record.
    """
    from tfx.dsl.io import fileio

    path = os.path.join(records_folder, branch, f"span-{span:05d}.json")
    try:
        with fileio.open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise _unreadable(path, error) from error
    return parse_record(content, path)


def parse_record(content: bytes, path: str) -> SpanRecord:
    """Parses the content of the record file `path`.

    Raises:
        BadInput: if the content is not a record.
    """
    try:
        return SpanRecord(**json.loads(content))
    except (ValueError, TypeError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: Exception) -> BadInput:
    return BadInput(
        "unreadable span record", where=path, expected="JSON with span, version, slots and skipped",
        got=str(error), fix="Restore the file, or remove it to run its span again.",
    )  # fmt: skip


def newest_before(records_folder: str, branch: str, span: int, slot: str) -> str | None:
    """Returns the URI in a slot of the newest record before `span` that has the slot; None if none has it.

    Reads the records of the branch, then of the branch's burn-in, then of the teacher's burn-in.
    """
    for recorded_branch in (branch, surface_burn_in(branch), BURN_IN):
        for earlier in reversed(recorded_spans(records_folder, recorded_branch)):
            if earlier < span:
                slots = read_record(records_folder, recorded_branch, earlier).slots
                if slot in slots:
                    return slots[slot]
    return None
