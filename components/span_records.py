"""What each finished span leaves for the next: one small JSON record per branch and span.

A branch is the teacher's, a surface's, the bootstrap or the relabelling. Its record of span N names the
artifacts that a later span may need, slot by slot. A record appears whole (temp name, then rename) as the
span's last act, so a span that died halfway has left nothing.

TFX's fileio is imported where files are touched: it brings TensorFlow along, and commands that answer at once
use what is defined here.
"""

import dataclasses
import json
import os
import re
import uuid
from collections.abc import Mapping

from eventlog.errors import BadInput

BOOTSTRAP = "bootstrap"
TEACHER = "teacher"
RELABELLED = "relabelled"
"""The branch that labels a span again when it is re-stated, or a past one that has no labels."""

_RECORD = re.compile(r"span-(\d+)\.json$")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpanRecord:
    """A branch's outcome of one span.

    Attributes:
        span: The span that has been worked off.
        version: Of the span, as the branch read it.
        slots: URI of the artifact in each slot; none of a span that was skipped.
        skipped: Why the branch has skipped the span; empty if it has not.
    """

    span: int
    version: int = 0
    slots: Mapping[str, str] = dataclasses.field(default_factory=dict)
    skipped: str = ""


def write_record(records: str, branch: str, record: SpanRecord) -> None:
    """Publishes a span's outcome.

    Args:
        records: Folder (or object-store prefix) of all records.
        branch: Whose record.
        record: What became of the span.
    """
    from tfx.dsl.io import fileio

    folder = os.path.join(records, branch)
    fileio.makedirs(folder)
    path = os.path.join(folder, f"span-{record.span:05d}.json")
    # The temporary name must not match _RECORD: a listing may see it.
    partial = f"{path}.{uuid.uuid4().hex}"
    with fileio.open(partial, "w") as file:
        file.write(json.dumps(dataclasses.asdict(record), indent=1, sort_keys=True))
    fileio.rename(partial, path, overwrite=True)


def recorded_spans(records: str, branch: str) -> list[int]:
    """The spans a branch has finished, ascending."""
    from tfx.dsl.io import fileio

    folder = os.path.join(records, branch)
    if not fileio.exists(folder):
        return []
    matches = (_RECORD.search(str(name)) for name in fileio.listdir(folder))
    return sorted(int(match.group(1)) for match in matches if match)


def read_record(records: str, branch: str, span: int) -> SpanRecord:
    """One record.

    Raises:
        BadInput: if the file is not a record.
    """
    from tfx.dsl.io import fileio

    path = os.path.join(records, branch, f"span-{span:05d}.json")
    try:
        with fileio.open(path, "r") as file:
            return SpanRecord(**json.loads(file.read()))
    except (ValueError, TypeError, OSError) as error:
        raise BadInput(
            "unreadable span record", where=path, expected="JSON with span and slots",
            got=type(error).__name__, fix="Restore the file, or remove it to run that span again.",
        ) from error  # fmt: skip


def newest_before(records: str, branch: str, span: int, slot: str) -> str | None:
    """URI last recorded in a slot by a span before `span`, in the branch or else by the bootstrap."""
    for candidate in (branch, BOOTSTRAP):
        for earlier in reversed(recorded_spans(records, candidate)):
            if earlier < span:
                slots = read_record(records, candidate, earlier).slots
                if slot in slots:
                    return slots[slot]
    return None
