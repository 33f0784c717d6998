"""Paths of a run's files and folders under its root."""

from __future__ import annotations

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class RunPaths:
    """Paths of the files and folders of one run.

    Attributes:
        root: Folder of everything that the run writes. A later run with the same root continues it.
        events: The event log, which the run reads.
        teacher_root: Root of the teacher's loop, if surfaces run in a separate loop. The surfaces use the
            transform graph of this root. None: no separate loop.
        on_cluster: Whether steps run in pods. A later run cannot read artifacts of pods, so each span's
            results are copied under the root. Each branch also ends with a report for Kubeflow's UI.
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
        """The MLMD store, a SQLite file."""
        return str(self.root / "metadata.sqlite")

    @property
    def records(self) -> str:
        """Folder of the span records, see `components.span_records`."""
        return str(self.root / "records")

    @property
    def artifact_copies(self) -> str:
        """Folder to which a span's results are copied; empty if later spans read the artifacts themselves."""
        return str(self.root / "published") if self.on_cluster else ""

    @property
    def history(self) -> str:
        """Folder of the history's state, see `components.history.state`; computed from the log."""
        return str(self.root / "history")

    @property
    def deployment(self) -> Path:
        """The configuration of the last run, as JSON; see `pipeline.driver.changed_settings`."""
        return self.root / "deployment.json"

    @property
    def platform(self) -> Path:
        """The TFX version of the last run, as JSON; see `pipeline.driver.root_platform`."""
        return self.root / "platform.json"

    @property
    def curves(self) -> str:
        """Folder of the training curves for TensorBoard, one subfolder per model."""
        return str(self.root / "tensorboard")

    @property
    def journal(self) -> Path:
        """The loop's journal, one JSON object per line."""
        return self.root / "loop.jsonl"

    @property
    def summary(self) -> Path:
        """The run's summary, as JSON; see `pipeline.observation.summary`."""
        return self.root / "summary.json"

    def serving(self, surface: str) -> str:
        """Folder to which a surface's students are pushed, one subfolder per pushed model."""
        return str(self.root / "serving" / surface)

    def label_store(self, uri: str) -> str:
        """The label store's URI; a relative path becomes a path under the root."""
        scheme, _, path = uri.partition(":")
        if "//" in path or path.startswith("/"):
            return uri
        return f"{scheme}:{(self.root / path).resolve()}"
