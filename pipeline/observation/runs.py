"""The runs of a root as MLMD has them: their steps, how long they took, what they made."""

from __future__ import annotations

import collections
import dataclasses
from typing import TYPE_CHECKING

from ml_metadata.proto import metadata_store_pb2

from pipeline.observation.lineage import open_metadata
from pipeline.paths import RunPaths

if TYPE_CHECKING:
    from ml_metadata import metadata_store

_STATES = {
    metadata_store_pb2.Execution.COMPLETE: "complete",
    metadata_store_pb2.Execution.CACHED: "complete",
    metadata_store_pb2.Execution.FAILED: "failed",
    metadata_store_pb2.Execution.RUNNING: "running or killed",
}
_OTHER = "not done"
_MS = 1000


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a pipeline: the bootstrap, a span, or the relabelling of one.

    Attributes:
        id: Names pipeline, span and version of the configuration.
        steps: State -> how many attempts at a step ended so.
        failed: Steps of which no attempt is complete.
        seconds: From the first step's start to the last one's end; a run that was gone on with counts the
            pause between.
        artifacts: Type -> how many were made.
    """

    id: str
    steps: dict[str, int]
    failed: list[str]
    seconds: float
    artifacts: dict[str, int]


def list_runs(paths: RunPaths, last: int) -> list[Run]:
    """The last runs of a root, oldest first.

    Args:
        paths: Of the runs.
        last: How many.

    Raises:
        BadInput: if the root has no readable MLMD.
    """
    store = open_metadata(paths.root)
    contexts = sorted(store.get_contexts_by_type("pipeline_run"), key=lambda context: context.id)
    return [_run(store, context) for context in contexts[-last:]]


def _run(store: metadata_store.MetadataStore, context: metadata_store_pb2.Context) -> Run:
    executions = store.get_executions_by_context(context.id)
    artifacts = store.get_artifacts_by_context(context.id)
    steps: collections.Counter[str] = collections.Counter()
    states = collections.defaultdict(set)
    for execution in executions:
        state = _STATES.get(execution.last_known_state, _OTHER)
        steps[state] += 1
        states[_step(store, execution, context.name)].add(state)
    times = [
        time
        for execution in executions
        for time in (execution.create_time_since_epoch, execution.last_update_time_since_epoch)
    ]
    return Run(
        id=context.name,
        steps=dict(sorted(steps.items())),
        failed=sorted(step for step, ends in states.items() if "complete" not in ends),
        seconds=(max(times) - min(times)) / _MS if times else 0.0,
        artifacts=dict(sorted(collections.Counter(artifact.type for artifact in artifacts).items())),
    )


def _step(store: metadata_store.MetadataStore, execution: metadata_store_pb2.Execution, run_id: str) -> str:
    """A node has a context in each run, see `pipeline.driver.runner`."""
    contexts = store.get_contexts_by_execution(execution.id)
    return next(
        (str(each.name).removeprefix(f"{run_id}.") for each in contexts if each.type == "node"),
        str(execution.type),
    )
