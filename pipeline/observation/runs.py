"""Lists the pipeline runs of a root from MLMD: steps, seconds, artifacts."""

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
_OTHER_STATE = "not complete"
_MS_PER_SECOND = 1000


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a pipeline: a burn-in, a span, or the relabelling of a span.

    Attributes:
        id: Pipeline name, span, span version and hash of the configuration.
        steps: State -> number of executions in this state. A step can have several executions.
        failed: Steps without a complete execution, including steps that still run.
        seconds: From the start of the first step to the end of the last step, with the pause before a run was
            resumed.
        artifacts: Artifact type -> number of artifacts.
    """

    id: str
    steps: dict[str, int]
    failed: list[str]
    seconds: float
    artifacts: dict[str, int]


def list_runs(paths: RunPaths, last: int) -> list[Run]:
    """Returns the last runs of a root, oldest first.

    Args:
        paths: The run's paths.
        last: Maximum number of runs, at least 1.

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
        state = _STATES.get(execution.last_known_state, _OTHER_STATE)
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
        failed=sorted(step for step, reached in states.items() if "complete" not in reached),
        seconds=(max(times) - min(times)) / _MS_PER_SECOND if times else 0.0,
        artifacts=dict(sorted(collections.Counter(artifact.type for artifact in artifacts).items())),
    )


def _step(store: metadata_store.MetadataStore, execution: metadata_store_pb2.Execution, run_id: str) -> str:
    """The step's node id in the DAG. Each node has one context per run, see `pipeline.driver.runner`."""
    contexts = store.get_contexts_by_execution(execution.id)
    return next(
        (str(node.name).removeprefix(f"{run_id}.") for node in contexts if node.type == "node"),
        str(execution.type),
    )
