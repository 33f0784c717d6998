"""What a cluster is asked for: images, resources, volumes and secrets of the steps, and where Beam runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from models.settings import settings

SPAN = "span"
"""The one parameter of a span's pipeline on a cluster: -1 for the next that is due."""


@settings
class Step:
    """What one step is given; Beam options count on one machine too, all else on a cluster alone.

    Attributes:
        cpus: Limit of CPU cores.
        memory_gib: Limit of memory.
        gpus: Number of accelerators, of the cluster's kind.
        image: Container image in place of the cluster's; empty: that one.
        beam: Beam's options for this step, added to the deployment's and stronger: `--runner=FlinkRunner`
            and what goes with it.
    """

    cpus: float = 2.0
    memory_gib: float = 4.0
    gpus: int = 0
    image: str = ""
    beam: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.cpus <= 0 or self.memory_gib <= 0 or self.gpus < 0:
            raise ValueError(
                "cpus and memory_gib must be > 0 and gpus >= 0, "
                f"got {self.cpus}, {self.memory_gib} and {self.gpus}."
            )


@settings
class Cluster:
    """One Kubeflow cluster, or a project on Vertex AI.

    Attributes:
        pipeline_root: Where the artifacts of all runs go: `minio://`, `s3://` or `gs://`.
        image: Container image of the steps, from `kubeflow/Dockerfile`.
        home: Where the image keeps the repository's data files.
        shared: Folder that every step sees: records, label store, pushed models and, in `events`, the log.
        volume: The volume claim that is mounted there; empty: something else mounts it, as Vertex AI does
            with `/gcs`.
        secrets: Secret -> its key -> the environment variable that gets the value.
        accelerator: Kind of the GPUs: a resource of Kubernetes, or a type of Vertex AI.
        retries: How often a step that failed is tried again before its run fails.
        retry_seconds: Before the first of these; it doubles each time.
    """

    pipeline_root: str = "minio://mlpipeline/v2/artifacts"
    image: str = "rankdistill:0.1.0"
    home: str = "/opt/rankdistill"
    shared: str = "/mnt/rankdistill"
    volume: str = "rankdistill"
    secrets: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    accelerator: str = "nvidia.com/gpu"
    retries: int = 3
    retry_seconds: int = 60

    def __post_init__(self) -> None:
        if not self.pipeline_root.startswith(("minio://", "s3://", "gs://")):
            raise ValueError(
                f"pipeline_root must begin with minio://, s3:// or gs://, got {self.pipeline_root!r}: the "
                "launcher stages nothing else."
            )
        for name in ("home", "shared"):
            if not getattr(self, name).startswith("/"):
                raise ValueError(f"{name} must be an absolute path, got {getattr(self, name)!r}.")
        if not self.volume and not self.shared.startswith("/gcs/"):
            raise ValueError(
                f"without a volume shared must begin with /gcs/, which Vertex AI mounts, got {self.shared!r}."
            )
        if self.retries < 0 or self.retry_seconds < 1:
            raise ValueError(
                f"retries must be >= 0 and retry_seconds >= 1, got {self.retries}, {self.retry_seconds}."
            )


def step_of(steps: Mapping[str, Step], component_id: str) -> Step:
    """What a component is given: of the names that its id begins with, the longest counts.

    Args:
        steps: By the beginning of an id, such as `Trainer_student` for every surface's.
        component_id: The component's, such as `Trainer_student_tab_1`.
    """
    names = [name for name in steps if component_id.startswith(name)]
    return steps[max(names, key=len)] if names else Step()
