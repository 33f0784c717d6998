"""Checks the runner in Beam options without importing Beam."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from eventlog.names import Fault

_RUNNER_OPTION = "--runner="
_RUNNERS = (
    "FnApiRunner", "BundleBasedDirectRunner", "DirectRunner", "SwitchingDirectRunner", "PrismRunner",
    "PortableRunner", "FlinkRunner", "SparkRunner", "DataflowRunner", "InteractiveRunner",
    "TestDirectRunner", "TestDataflowRunner",
)  # fmt: skip


def runner_fault(options: Sequence[str]) -> Fault | None:
    """The fault of the first unknown `--runner=` in Beam options; None if Beam knows every runner."""
    known = {_normalize(name) for name in _RUNNERS}
    for option in options:
        runner = option.removeprefix(_RUNNER_OPTION)
        # A runner of another package is given by its full class name.
        if runner == option or "." in runner or _normalize(runner) in known:
            continue
        close_names = difflib.get_close_matches(runner, _RUNNERS, n=1)
        fix = f"Did you mean {close_names[0]}?" if close_names else f"Beam has {', '.join(_RUNNERS)}."
        return Fault("a Beam runner", repr(runner), fix)
    return None


def _normalize(runner: str) -> str:
    """The name in lower case without `runner`: for Beam, `FlinkRunner` and `flink` are the same."""
    return runner.lower().removesuffix("runner")
