"""Runs a compiled TFX pipeline in this process, node by node, and resumes a killed run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tfx.dsl.compiler import constants
from tfx.dsl.io import fileio
from tfx.orchestration import metadata
from tfx.orchestration.local import local_dag_runner, runner_utils
from tfx.orchestration.portable import execution_publish_utils, launcher, runtime_parameter_utils
from tfx.orchestration.portable.mlmd import context_lib, execution_lib
from tfx.proto.orchestration import pipeline_pb2

from components.transforms.collecting import find_bad_input
from eventlog.errors import BadInput
from pipeline.driver.progress import Progress

_LOG = logging.getLogger(__name__)
_PIPELINE_CONTEXT, _NODE_CONTEXT = constants.PIPELINE_CONTEXT_TYPE_NAME, constants.NODE_CONTEXT_TYPE_NAME

Guard = Callable[[metadata.Metadata, str], None]
"""Called with MLMD and the run id just before a node is launched; raises BadInput to refuse the launch."""


class Stopped(Exception):  # noqa: N818 - no error
    """The runner stopped on request before the node that the message names; the run can be resumed."""


class LocalRunner(local_dag_runner.LocalDagRunner):
    """TFX's LocalDagRunner with progress and resumption; a refused node does not stop other branches.

    The caller chooses the run id. A second run with the same id skips the nodes that MLMD records as complete
    and runs the others with clean output folders. Bad input stops a node and everything downstream of it;
    the rest of the pipeline runs.

    Args:
        progress: Reports each node.
        run_id: Id of the run.
        guards: Guards by node id.
        is_stopping: Called before each node that is not complete; True stops the run.
    """

    def __init__(
        self,
        progress: Progress,
        run_id: str,
        guards: Mapping[str, Guard],
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__()
        self._progress = progress
        self._run_id = run_id
        self._guards = guards
        self._is_stopping = is_stopping
        self.refused: dict[str, BadInput] = {}
        """Node id → error, for each refused node and every node downstream of it."""

    def run_with_ir(
        self, ir: pipeline_pb2.Pipeline, run_options: pipeline_pb2.RunOptions | None = None
    ) -> None:
        """See the base class. Afterwards `refused` has the errors of the nodes that did not complete.

        Raises:
            Stopped: if `is_stopping` returned True.
            ValueError: if partial-run options are given; a span runs as a whole or is resumed.
        """
        if run_options:
            raise ValueError(
                "partial runs are not supported: leave run_options out; a run resumes by itself."
            )
        runtime_parameter_utils.substitute_runtime_parameter(
            ir, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: self._run_id}
        )
        _limit_queries_to_run(ir, self._run_id)
        local_config = runner_utils.extract_local_deployment_config(ir)
        config = local_config.metadata_connection_config
        mlmd = metadata.Metadata(getattr(config, config.WhichOneof("connection_config")))
        for number, wrapped in enumerate(ir.nodes, 1):
            node = wrapped.pipeline_node
            # The error of the first refused upstream node: later errors may be its consequences.
            cause = next(
                (error for node_id, error in self.refused.items() if node_id in node.upstream_nodes), None
            )
            if cause is not None:
                self.refused[node.node_info.id] = cause
            elif not self._is_done(mlmd, node, ir.runtime_spec):
                if self._is_stopping():
                    raise Stopped(node.node_info.id)
                with self._progress.step(node.node_info.id, number, len(ir.nodes)):
                    self._launch(mlmd, node, ir, local_config)

    def _launch(
        self,
        mlmd: metadata.Metadata,
        node: pipeline_pb2.PipelineNode,
        ir: pipeline_pb2.Pipeline,
        local_config: pipeline_pb2.IntermediateDeploymentConfig,
    ) -> None:
        node_id = node.node_info.id
        try:
            if node_id in self._guards:
                self._guards[node_id](mlmd, self._run_id)
            _NodeLauncher(
                pipeline_node=node,
                mlmd_connection=mlmd,
                pipeline_info=ir.pipeline_info,
                pipeline_runtime_spec=ir.runtime_spec,
                executor_spec=runner_utils.extract_executor_spec(local_config, node_id),
                custom_driver_spec=runner_utils.extract_custom_driver_spec(local_config, node_id),
            ).launch()
        except Exception as error:
            refused = find_bad_input(error)
            if refused is None:
                raise
            _LOG.warning("%s: %s", node_id, refused)
            self.refused[node_id] = refused

    def _is_done(
        self,
        mlmd: metadata.Metadata,
        node: pipeline_pb2.PipelineNode,
        runtime_spec: pipeline_pb2.PipelineRuntimeSpec,
    ) -> bool:
        """Whether this run has completed the node; deletes the outputs of its incomplete executions."""
        root = runtime_spec.pipeline_root.field_value.string_value
        with mlmd as connection:
            contexts = context_lib.prepare_contexts(connection, node.contexts)
            executions = _executions_of_node(connection, node, contexts)
        for execution in executions:
            if execution_lib.is_execution_successful(execution):
                return True
            folder = f"{root}/{node.node_info.id}"
            for pattern in (f"{folder}/*/{execution.id}", f"{folder}/.system/*/{execution.id}"):
                for output_folder in fileio.glob(pattern):
                    fileio.rmtree(output_folder)
        return False


class _NodeLauncher(launcher.Launcher):
    """TFX's launcher, changed: looks for an earlier execution of the node in the node's own context only.

    TFX 1.21 reads each context of the node as a whole; the pipeline's context has all spans' executions.
    """

    def _register_or_reuse_execution(
        self,
        metadata_handle: metadata.Metadata,
        contexts: Sequence[Any],
        input_artifacts: Any = None,
        exec_properties: Any = None,
    ) -> Any:
        if earlier := _executions_of_node(metadata_handle, self._pipeline_node, contexts):
            return earlier[-1]
        return execution_publish_utils.register_execution(
            metadata_handle=metadata_handle,
            execution_type=self._pipeline_node.node_info.type,
            contexts=contexts,
            input_artifacts=input_artifacts,
            exec_properties=exec_properties,
        )


def _executions_of_node(
    mlmd: metadata.Metadata, node: pipeline_pb2.PipelineNode, contexts: Sequence[Any]
) -> list[Any]:
    """The executions of a node in its run, oldest first; `contexts` has the order of `node.contexts`."""
    (own,) = [
        context
        for declared, context in zip(node.contexts.contexts, contexts, strict=True)
        if declared.type.name == _NODE_CONTEXT
    ]
    return sorted(mlmd.store.get_executions_by_context(own.id), key=lambda execution: execution.id)


def _limit_queries_to_run(ir: pipeline_pb2.Pipeline, run_id: str) -> None:
    """Makes nodes find their inputs without reading all earlier spans from MLMD.

    TFX takes a node's inputs from the intersection of three contexts and reads each context as a whole. The
    pipeline's context has every execution of every span, and a node's context has one execution per span.
    This project's channels read only from the same run. So each node has one context per run here, and
    queries of the pipeline's context are removed.
    """
    for wrapped in ir.nodes:
        node = wrapped.pipeline_node
        for context in node.contexts.contexts:
            if context.type.name == _NODE_CONTEXT:
                context.name.field_value.string_value = f"{run_id}.{node.node_info.id}"
        for channel in (channel for spec in node.inputs.inputs.values() for channel in spec.channels):
            queries = [query for query in channel.context_queries if query.type.name != _PIPELINE_CONTEXT]
            for query in queries:
                if query.type.name == _NODE_CONTEXT:
                    query.name.field_value.string_value = f"{run_id}.{channel.producer_node_query.id}"
            del channel.context_queries[:]
            channel.context_queries.extend(queries)
