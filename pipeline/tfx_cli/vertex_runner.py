"""The file for `tfx pipeline create --engine=vertex --pipeline_path=pipeline/tfx_cli/vertex_runner.py`.

RANKDISTILL_CONFIG names the deployment's YAML, for TFX's command line hands no arguments on.
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
from pipeline.dag.pipelines import all_branches
from pipeline.errors import run_or_refuse
from pipeline.kubeflow.due_span import NEXT
from pipeline.kubeflow.spec import finish
from pipeline.kubeflow.target import FLEET, build, for_cluster, runner_config
from pipeline.tfx_cli.local_runner import CONFIG, environment


class VertexRunner(KubeflowV2DagRunner):
    """TFX's compiler, which finishes the spec as `kubeflow/compile.py` does before it writes it."""

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
        # TFX's command line tells by way of the base class's `run` where to write.
        job: dict[str, Any] = super().run(pipeline, parameter_values, write_out=False)
        job["pipelineSpec"] = finish(job["pipelineSpec"], self._deployment, {SPAN: NEXT})[0]
        if write_out:
            Path(self._output_dir, self._output_filename).write_text(json.dumps(job, sort_keys=True))
        return job


def main() -> None:
    """Compiles the deployment that the environment names.

    Raises:
        BadInput: if its cluster is not one of Vertex AI.
    """
    from pipeline.config_file import load_deployment

    deployment = for_cluster(load_deployment(environment(CONFIG)))
    if deployment.cluster.volume or not deployment.cluster.pipeline_root.startswith("gs://"):
        raise BadInput(
            "not Vertex AI", where="cluster", expected='volume: "" and a pipeline_root of gs://',
            got=f"{deployment.cluster.volume!r} and {deployment.cluster.pipeline_root}",
            fix="See docs/kubeflow.md; `python kubeflow/compile.py` compiles for Kubeflow.",
        )  # fmt: skip
    dag = build(deployment, FLEET, all_branches(deployment))
    VertexRunner(deployment).run(dag)


if __name__ == "__main__":
    run_or_refuse("rankdistill", main)
