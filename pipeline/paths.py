"""Where a run keeps what: every path under its root, in one place."""

from __future__ import annotations

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class RunPaths:
    """The folders of one run.

    Attributes:
        root: Holds everything the run writes; a second run with the same root goes on where it ended.
        events: The impression log that the run reads.
        teacher_root: The root of the teacher's loop, where surfaces run apart from it: they take over its
            frozen features.
        on_cluster: Steps run in pods, and their artifacts are not to be had in a later run: what a span
            leaves is copied under the root, which all see; and a branch ends with a report for the UI.
    """

    root: Path
    events: Path
    teacher_root: Path | None = None
    on_cluster: bool = False

    @property
    def artifacts(self) -> str:
        """Root of all TFX artifacts."""
        return str(self.root / "artifacts")

    @property
    def metadata(self) -> str:
        """The one MLMD store, in SQLite."""
        return str(self.root / "metadata.sqlite")

    @property
    def records(self) -> str:
        """What each finished span leaves for the next, see `components.span_records`."""
        return str(self.root / "records")

    @property
    def published(self) -> str:
        """Where what a span leaves is copied to; empty where its artifacts themselves stay."""
        return str(self.root / "published") if self.on_cluster else ""

    @property
    def journal(self) -> Path:
        """What the loop did, a JSON object a line."""
        return self.root / "loop.jsonl"

    @property
    def summary(self) -> Path:
        """The run's figures."""
        return self.root / "summary.json"

    def serving(self, surface: str) -> str:
        """Where a surface's blessed students are pushed, one version a folder."""
        return str(self.root / "serving" / surface)

    def label_store(self, uri: str) -> str:
        """The store's URI, with a relative path taken as relative to the root."""
        scheme, _, path = uri.partition(":")
        if "//" in path or path.startswith("/"):
            return uri
        return f"{scheme}:{(self.root / path).resolve()}"
