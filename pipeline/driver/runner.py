"""Runs a compiled pipeline in this process, one node after another, and goes on where a killed run ended."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from tfx.dsl.compiler import constants
from tfx.dsl.io import fileio
from tfx.orchestration import metadata
from tfx.orchestration.local import local_dag_runner, runner_utils
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.orchestration.portable.mlmd import context_lib, execution_lib
from tfx.proto.orchestration import pipeline_pb2

from eventlog.errors import BadInput
from pipeline.driver.progress import Progress
from pipeline.errors import refusal

_LOG = logging.getLogger(__name__)
_PIPELINE_CONTEXT, _NODE_CONTEXT = constants.PIPELINE_CONTEXT_TYPE_NAME, constants.NODE_CONTEXT_TYPE_NAME

Guard = Callable[[metadata.Metadata, str], None]
"""Looks at MLMD just before a node of the run with this id is launched; refuses by raising BadInput."""


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """The runner was asked to stop and did so between two nodes; the same run can be gone on with."""


class LocalRunner(local_dag_runner.LocalDagRunner):
    """TFX's LocalDagRunner with progress, resumption and branches that fail by themselves.

    A run has an id of its own choosing. Run again under the same id, it skips the nodes that MLMD knows to be
    done, and runs the others from clean output folders. What bad input stops is the node and everything
    downstream of it; the rest of the pipeline goes on.

    Args:
        progress: Told of each node.
        run_id: Names the run.
        guards: By node id.
        stopping: Asked before each node whether to stop.
    """

    def __init__(
        self,
        progress: Progress,
        run_id: str,
        guards: Mapping[str, Guard],
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__()
        self._progress = progress
        self._run_id = run_id
        self._guards = guards
        self._stopping = stopping
        self.refused: dict[str, BadInput] = {}
        """By node that has not run for it, the refused one and those downstream: what was wrong."""

    def run_with_ir(
        self, ir: pipeline_pb2.Pipeline, run_options: pipeline_pb2.RunOptions | None = None
    ) -> None:
        """See the base class; `refused` tells afterwards what did not run.

        Raises:
            Stopped: if asked to.
            ValueError: if partial-run options are given; a span is run whole or gone on with.
        """
        if run_options:
            raise ValueError(
                "partial runs are not supported: leave run_options out, a run goes on by itself."
            )
        runtime_parameter_utils.substitute_runtime_parameter(
            ir, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: self._run_id}
        )
        _look_in_this_run_alone(ir, self._run_id)
        deployment = runner_utils.extract_local_deployment_config(ir)
        chosen = deployment.metadata_connection_config.WhichOneof("connection_config")
        handle = metadata.Metadata(getattr(deployment.metadata_connection_config, chosen))
        for number, wrapped in enumerate(ir.nodes, 1):
            node = wrapped.pipeline_node
            # The first that was refused: others may only have followed from it.
            cause = next((why for up, why in self.refused.items() if up in node.upstream_nodes), None)
            if cause is not None:
                self.refused[node.node_info.id] = cause
            elif not self._is_done(handle, node, ir.runtime_spec):
                if self._stopping():
                    raise Stopped(node.node_info.id)
                with self._progress.step(node.node_info.id, number, len(ir.nodes)):
                    self._launch(handle, node, ir, deployment)

    def _launch(
        self,
        handle: metadata.Metadata,
        node: pipeline_pb2.PipelineNode,
        ir: pipeline_pb2.Pipeline,
        deployment: pipeline_pb2.IntermediateDeploymentConfig,
    ) -> None:
        node_id = node.node_info.id
        try:
            if node_id in self._guards:
                self._guards[node_id](handle, self._run_id)
            launcher.Launcher(
                pipeline_node=node,
                mlmd_connection=handle,
                pipeline_info=ir.pipeline_info,
                pipeline_runtime_spec=ir.runtime_spec,
                executor_spec=runner_utils.extract_executor_spec(deployment, node_id),
                custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, node_id),
            ).launch()
        except Exception as error:
            refused = refusal(error)
            if refused is None:
                raise
            _LOG.warning("%s: %s", node_id, refused)
            self.refused[node_id] = refused

    def _is_done(
        self,
        handle: metadata.Metadata,
        node: pipeline_pb2.PipelineNode,
        runtime: pipeline_pb2.PipelineRuntimeSpec,
    ) -> bool:
        """Whether this run has done the node; what an attempt that died has left is removed."""
        root = runtime.pipeline_root.field_value.string_value
        with handle as opened:
            contexts = [
                context
                for context in context_lib.prepare_contexts(opened, node.contexts)
                if context.type != _PIPELINE_CONTEXT
            ]
            attempts = execution_lib.get_executions_associated_with_all_contexts(opened, contexts)
        for attempt in attempts:
            if execution_lib.is_execution_successful(attempt):
                return True
            folder = f"{root}/{node.node_info.id}"
            for pattern in (f"{folder}/*/{attempt.id}", f"{folder}/.system/*/{attempt.id}"):
                for left in fileio.glob(pattern):
                    fileio.rmtree(left)
        return False


def _look_in_this_run_alone(ir: pipeline_pb2.Pipeline, run_id: str) -> None:
    """Has nodes find their inputs, and themselves, without reading all earlier spans from MLMD.

    TFX takes a node's inputs from what is in three contexts at once, and reads each of them whole: that of
    the pipeline holds every execution of every span, and that of a node one of each. A channel of ours never
    reaches into another run, so a node has a context in each run and the pipeline's is not asked for.
    """
    for wrapped in ir.nodes:
        node = wrapped.pipeline_node
        for context in node.contexts.contexts:
            if context.type.name == _NODE_CONTEXT:
                context.name.field_value.string_value = f"{run_id}.{node.node_info.id}"
        for channel in (each for spec in node.inputs.inputs.values() for each in spec.channels):
            queries = [query for query in channel.context_queries if query.type.name != _PIPELINE_CONTEXT]
            for query in queries:
                if query.type.name == _NODE_CONTEXT:
                    query.name.field_value.string_value = f"{run_id}.{channel.producer_node_query.id}"
            del channel.context_queries[:]
            channel.context_queries.extend(queries)
