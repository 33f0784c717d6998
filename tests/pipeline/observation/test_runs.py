import pytest
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2

from eventlog.errors import BadInput
from pipeline.observation.runs import list_runs
from pipeline.paths import RunPaths

COMPLETE, FAILED, RUNNING = (
    getattr(metadata_store_pb2.Execution, state) for state in ("COMPLETE", "FAILED", "RUNNING")
)


class Metadata:
    """An MLMD as the runner writes it: each node has one context per run."""

    def __init__(self, paths):
        paths.root.mkdir()
        config = metadata_store_pb2.ConnectionConfig()
        config.sqlite.filename_uri = paths.metadata
        config.sqlite.connection_mode = 3
        self.store = metadata_store.MetadataStore(config)
        self.types = {
            name: put(metadata_store_pb2.__dict__[kind](name=name))
            for name, kind, put in (
                ("pipeline_run", "ContextType", self.store.put_context_type),
                ("node", "ContextType", self.store.put_context_type),
                ("Step", "ExecutionType", self.store.put_execution_type),
                ("Model", "ArtifactType", self.store.put_artifact_type),
            )
        }

    def step(self, run, node, state, models=0):
        contexts = [
            metadata_store_pb2.Context(type_id=self.types[kind], name=name)
            for kind, name in (("pipeline_run", run), ("node", f"{run}.{node}"))
        ]
        execution = metadata_store_pb2.Execution(type_id=self.types["Step"], last_known_state=state)
        outputs = [
            (
                metadata_store_pb2.Artifact(type_id=self.types["Model"], uri=f"/{run}/{node}/{number}"),
                metadata_store_pb2.Event(type=metadata_store_pb2.Event.OUTPUT),
            )
            for number in range(models)
        ]
        self.store.put_execution(execution, outputs, contexts, reuse_context_if_already_exist=True)


@pytest.fixture
def paths(tmp_path):
    return RunPaths(tmp_path / "root", tmp_path / "events")


def test_a_run_has_its_steps_and_their_artifacts(paths):
    metadata = Metadata(paths)
    metadata.step("world-span.span-00003-v0.a", "Trainer", COMPLETE, models=1)
    metadata.step("world-span.span-00004-v0.a", "Trainer", RUNNING)
    metadata.step("world-span.span-00004-v0.a", "Trainer", COMPLETE, models=1)
    metadata.step("world-span.span-00004-v0.a", "CandidateCheck", FAILED)
    metadata.step("world-span.span-00004-v0.a", "Pusher", COMPLETE, models=1)
    first, second = list_runs(paths, 5)

    assert (first.id, first.steps, first.failed) == ("world-span.span-00003-v0.a", {"complete": 1}, [])
    assert second.steps == {"complete": 2, "failed": 1, "running or killed": 1}
    assert second.failed == ["CandidateCheck"], "the Trainer has a complete execution"
    assert second.artifacts == {"Model": 2}
    assert second.seconds >= 0
    assert [run.id for run in list_runs(paths, 1)] == [second.id]


def test_a_root_without_mlmd_is_refused(paths):
    with pytest.raises(BadInput, match="no readable MLMD"):
        list_runs(paths, 5)
