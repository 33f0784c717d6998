"""Runs a compiled pipeline in this process, one node after another, and tells where it is."""

from __future__ import annotations

import datetime

from tfx.dsl.compiler import constants
from tfx.orchestration import metadata
from tfx.orchestration.local import local_dag_runner, runner_utils
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.proto.orchestration import pipeline_pb2

from pipeline.progress import Progress


class LocalRunner(local_dag_runner.LocalDagRunner):
    """TFX's LocalDagRunner with progress; nodes run in this process, in topological order."""

    def __init__(self, progress: Progress) -> None:
        """Reports each node to `progress`."""
        super().__init__()
        self._progress = progress

    def run_with_ir(
        self, pipeline: pipeline_pb2.Pipeline, run_options: pipeline_pb2.RunOptions | None = None
    ) -> None:
        """See the base class.

        Raises:
            ValueError: if partial-run options are given; a span is run whole or not at all.
        """
        if run_options:
            raise ValueError("partial runs are not supported: a span is run whole. Leave run_options out.")
        run_id = datetime.datetime.now().isoformat()
        runtime_parameter_utils.substitute_runtime_parameter(
            pipeline, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id}
        )
        deployment = runner_utils.extract_local_deployment_config(pipeline)
        chosen = deployment.metadata_connection_config.WhichOneof("connection_config")
        connection = getattr(deployment.metadata_connection_config, chosen)
        for number, wrapped in enumerate(pipeline.nodes, 1):
            node = wrapped.pipeline_node
            node_id = node.node_info.id
            with self._progress.step(node_id, number, len(pipeline.nodes)):
                launcher.Launcher(
                    pipeline_node=node,
                    mlmd_connection=metadata.Metadata(connection),
                    pipeline_info=pipeline.pipeline_info,
                    pipeline_runtime_spec=pipeline.runtime_spec,
                    executor_spec=runner_utils.extract_executor_spec(deployment, node_id),
                    custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, node_id),
                ).launch()
