"""The runner on a small real pipeline: completed, failed, refused and repeated nodes."""

import io
from pathlib import Path

import pytest
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2
from rich.console import Console
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration import metadata, pipeline
from tfx.types.standard_artifacts import Model

from eventlog.errors import BadInput
from pipeline.driver.progress import Progress
from pipeline.driver.runner import LocalRunner, Stopped


@component
def Write(model: OutputArtifact[Model], folder: Parameter[str]) -> None:
    """Fails once per file `fail-*`, after writing half of its output; counts its runs."""
    Path(folder, f"ran-{len(list(Path(folder).glob('ran-*')))}").touch()
    Path(model.uri, "half").write_text(str(len(list(Path(model.uri).iterdir()))))
    for failure in sorted(Path(folder).glob("fail-*")):
        failure.unlink()
        if failure.name == "fail-badly":
            raise RuntimeError("boom")
        raise BadInput("faulty", where="Write", expected="good", got="bad", fix="Repair it.")
    Path(model.uri, "whole").touch()


@component
def Read(model: InputArtifact[Model], copy: OutputArtifact[Model], folder: Parameter[str]) -> None:
    """Writes the names of the files in its input."""
    names = sorted(path.name for path in Path(model.uri).iterdir())
    Path(folder, "read").write_text(" ".join(names))


@pytest.fixture
def folders(tmp_path):
    """One folder for each of two independent branches."""
    for name in ("left", "right"):
        (tmp_path / name).mkdir()
    return {name: tmp_path / name for name in ("left", "right")}


@pytest.fixture
def run(tmp_path, folders):
    def run(run_id="run.1", guards=None, is_stopping=lambda: False):
        components = []
        for name, folder in folders.items():
            write = Write(folder=str(folder)).with_id(f"Write_{name}")
            read = Read(model=write.outputs["model"], folder=str(folder)).with_id(f"Read_{name}")
            components += [write, read]
        dag = pipeline.Pipeline(
            pipeline_name="small",
            pipeline_root=str(tmp_path / "artifacts"),
            components=components,
            metadata_connection_config=connection(tmp_path),
        )
        runner = LocalRunner(Progress(Console(file=io.StringIO())), run_id, guards or {}, is_stopping)
        runner.run(dag)
        return runner.refused

    return run


def connection(tmp_path):
    return metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))


def times_run(folder):
    return len(list(folder.glob("ran-*")))


def test_a_resumed_run_skips_completed_nodes(run, folders):
    assert run() == run() == {}
    assert times_run(folders["left"]) == 1
    run("run.2")
    assert times_run(folders["left"]) == 2


def test_bad_input_stops_only_the_node_and_those_downstream(run, folders):
    (folders["left"] / "fail-1").touch()
    refused = run()

    assert set(refused) == {"Write_left", "Read_left"}
    assert "Write: faulty: expected good, got bad" in str(refused["Read_left"])
    assert (folders["right"] / "read").read_text() == "half whole"


def test_a_failed_node_is_repeated_in_an_empty_folder(run, folders):
    (folders["left"] / "fail-1").touch()
    run()

    assert run() == {}
    assert (folders["left"] / "read").read_text() == "half whole"
    assert (times_run(folders["left"]), times_run(folders["right"])) == (2, 1)


def test_a_program_error_ends_the_run_and_its_outputs_are_removed_at_the_next_attempt(run, folders, tmp_path):
    (folders["left"] / "fail-badly").touch()
    with pytest.raises(RuntimeError, match="boom"):
        run()
    with metadata.Metadata(connection(tmp_path)) as handle:
        (execution,) = handle.store.get_executions()
    # A kill leaves such a file; TFX removes outputs only after errors.
    partial_output = tmp_path / "artifacts" / "Write_left" / "model" / str(execution.id) / "partial"
    partial_output.parent.mkdir(parents=True)
    partial_output.touch()

    assert run() == {}
    assert not partial_output.exists()
    assert (partial_output.parent / "half").read_text() == "0", "the folder was empty when the node ran again"


def test_repeated_attempts_end_in_one_complete_execution_per_node(run, folders, tmp_path):
    (folders["left"] / "fail-1").touch()
    run()
    run()

    with metadata.Metadata(connection(tmp_path)) as handle:
        states = [execution.last_known_state for execution in handle.store.get_executions()]
    assert states == [metadata_store_pb2.Execution.COMPLETE] * 4


def test_a_guard_can_refuse_a_node_and_can_read_mlmd(run, folders):
    calls = []

    def guard(handle, run_id):
        with handle as connection:
            calls.append((run_id, len(connection.store.get_executions())))
        raise BadInput("leak", where="here", expected="none", got="one", fix="Stop.")

    assert set(run(guards={"Write_right": guard})) == {"Write_right", "Read_right"}
    assert calls == [("run.1", 1)], "Write_left is in MLMD"
    assert times_run(folders["right"]) == 0


def test_it_stops_between_two_nodes_and_can_be_resumed(run, folders):
    answers = iter([False, True])
    with pytest.raises(Stopped, match="Write_right"):
        run(is_stopping=lambda: next(answers))
    assert (times_run(folders["left"]), times_run(folders["right"])) == (1, 0)

    assert run() == {}
    assert (times_run(folders["left"]), times_run(folders["right"])) == (1, 1)


def test_a_node_reads_no_executions_of_earlier_runs_from_mlmd(run, tmp_path, monkeypatch):
    for number in range(3):
        run(f"run.{number}")
    counts = []
    original = metadata_store.MetadataStore.get_executions_by_context

    def count(self, *arguments, **options):
        executions = original(self, *arguments, **options)
        counts.append(len(executions))
        return executions

    monkeypatch.setattr(metadata_store.MetadataStore, "get_executions_by_context", count)
    run("run.3")
    assert sum(counts) > 0
    assert max(counts) <= 4, "the number of nodes of the run"
