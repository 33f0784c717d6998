"""Which runner Beam options name, checked without importing Beam."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from eventlog.names import Fault

_OPTION = "--runner="
_RUNNERS = (
    "FnApiRunner", "BundleBasedDirectRunner", "DirectRunner", "SwitchingDirectRunner", "PrismRunner",
    "PortableRunner", "FlinkRunner", "SparkRunner", "DataflowRunner", "InteractiveRunner",
    "TestDirectRunner", "TestDataflowRunner",
)  # fmt: skip


def runner_fault(options: Sequence[str]) -> Fault | None:
    """What is wrong with the `--runner=` among Beam options; None if Beam can read it."""
    known = {_short(name) for name in _RUNNERS}
    for option in options:
        runner = option.removeprefix(_OPTION)
        # A runner of another package has its full name.
        if runner == option or "." in runner or _short(runner) in known:
            continue
        near = difflib.get_close_matches(runner, _RUNNERS, n=1)
        fix = f"Did you mean {near[0]}?" if near else f"Beam has {', '.join(_RUNNERS)}."
        return Fault("a Beam runner", repr(runner), fix)
    return None


def _short(runner: str) -> str:
    """Beam reads `FlinkRunner` and `flink` alike."""
    return runner.lower().removesuffix("runner")
