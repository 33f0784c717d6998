"""Pipeline file for `tfx pipeline create --engine=vertex --pipeline_path=pipeline/tfx_cli/vertex_runner.py`.

The environment variable RANKDISTILL_CONFIG names the deployment's YAML file: TFX's command line passes no
arguments.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tfx.orchestration import pipeline
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import KubeflowV2DagRunner

from eventlog.errors import BadInput
from pipeline.cluster import SPAN
from pipeline.config import Deployment
from pipeline.config_file import load_deployment
from pipeline.dag.pipelines import all_branches
from pipeline.errors import exit_on_bad_input
from pipeline.kubeflow.due_span import NEXT_SPAN
from pipeline.kubeflow.spec import complete_spec
from pipeline.kubeflow.target import FLEET, adapt_to_cluster, build_pipeline, runner_config
from pipeline.tfx_cli.local_runner import CONFIG_VARIABLE, path_from_environment


class VertexRunner(KubeflowV2DagRunner):
    """TFX's compiler for Vertex AI; completes the pipeline spec as `kubeflow/compile.py` does."""

    def __init__(self, deployment: Deployment) -> None:
        super().__init__(runner_config(deployment))
        self._deployment = deployment

    def run(
        self,
        pipeline: pipeline.Pipeline,
        parameter_values: dict[str, Any] | None = None,
        write_out: bool | None = True,
    ) -> dict[str, Any]:
        """See the base class."""
        # TFX's command line sets the output file in a patched `run` of the base class.
        job: dict[str, Any] = super().run(pipeline, parameter_values, write_out=False)
        job["pipelineSpec"] = complete_spec(job["pipelineSpec"], self._deployment, {SPAN: NEXT_SPAN})[0]
        if write_out:
            Path(self._output_dir, self._output_filename).write_text(json.dumps(job, sort_keys=True))
        return job


def main() -> None:
    """Compiles the pipeline of all branches, for the deployment that RANKDISTILL_CONFIG names.

    Raises:
        BadInput: if the configuration's `cluster` does not describe Vertex AI.
    """
    deployment = adapt_to_cluster(load_deployment(path_from_environment(CONFIG_VARIABLE)))
    if deployment.cluster.volume or not deployment.cluster.pipeline_root.startswith("gs://"):
        raise BadInput(
            "not a Vertex AI cluster", where="cluster", expected='volume: "" and a gs:// pipeline_root',
            got=f"{deployment.cluster.volume!r} and {deployment.cluster.pipeline_root}",
            fix="See docs/guides/kubeflow.md; for Kubeflow, compile with `python kubeflow/compile.py`.",
        )  # fmt: skip
    VertexRunner(deployment).run(build_pipeline(deployment, FLEET, all_branches(deployment)))


if __name__ == "__main__":
    exit_on_bad_input("rankdistill", main)
