"""Settings of a pipeline's steps (resources, image, Beam options) and of the Kubernetes cluster."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from models.settings import Count, Natural, Positive, settings

SPAN = "span"
"""Name of the only parameter of a compiled span pipeline. The value -1 selects the next due span."""


@settings
class Step:
    """Settings of one pipeline step. `beam` also applies on one machine, the other keys only in containers.

    Attributes:
        cpus: Limit of CPU cores, > 0.
        memory_gib: Limit of memory in GiB, > 0.
        gpus: Number of accelerators; `cluster.accelerator` is their type.
        image: Container image of this step; empty: the image of `cluster`.
        beam: Beam options of this step, such as `--runner=FlinkRunner`; they override `beam_pipeline_args`.
    """

    cpus: Positive = 2.0
    memory_gib: Positive = 4.0
    gpus: Natural = 0
    image: str = ""
    beam: tuple[str, ...] = ()


@settings
class Cluster:
    """One Kubernetes cluster with Kubeflow, or one project on Vertex AI.

    Attributes:
        pipeline_root: Folder of all runs' artifacts: a `minio://`, `s3://` or `gs://` URI.
        image: Container image of the steps, built from `kubeflow/Dockerfile`.
        home: Folder of the repository's files in the image.
        shared: Folder that all steps mount. It contains span records, label store and pushed models, and the
            event log in `events`.
        volume: Volume claim that is mounted at `shared`; empty on Vertex AI, which mounts `/gcs` itself.
        secrets: Secret name -> key in the secret -> environment variable that receives the value.
        accelerator: Type of the GPUs: a Kubernetes resource name, or a Vertex AI type.
        retries: Maximum number of retries of a failed step before its run fails.
        retry_seconds: Wait before the first retry; doubled with each further retry.
    """

    pipeline_root: str = "minio://mlpipeline/v2/artifacts"
    image: str = "rankdistill:0.1.0"
    home: str = "/opt/rankdistill"
    shared: str = "/mnt/rankdistill"
    volume: str = "rankdistill"
    secrets: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    accelerator: str = "nvidia.com/gpu"
    retries: Natural = 3
    retry_seconds: Count = 60

    def __post_init__(self) -> None:
        if not self.pipeline_root.startswith(("minio://", "s3://", "gs://")):
            raise ValueError(
                f"pipeline_root must begin with minio://, s3:// or gs://, got {self.pipeline_root!r}: "
                "Kubeflow's launcher supports no other scheme."
            )
        for name in ("home", "shared"):
            if not getattr(self, name).startswith("/"):
                raise ValueError(f"{name} must be an absolute path, got {getattr(self, name)!r}.")
        if not self.volume and not self.shared.startswith("/gcs/"):
            raise ValueError(
                f"without a volume, shared must begin with /gcs/ (Vertex AI), got {self.shared!r}."
            )


def find_step(steps: Mapping[str, Step], component_id: str) -> Step:
    """The settings of the longest key with which `component_id` begins; the defaults if there is no such key.

    Args:
        steps: Settings by prefix of component ids; `Trainer_student` applies to the students of all surfaces.
        component_id: Id of a component, such as `Trainer_student_tab_1`.
    """
    prefixes = [prefix for prefix in steps if component_id.startswith(prefix)]
    return steps[max(prefixes, key=len)] if prefixes else Step()
