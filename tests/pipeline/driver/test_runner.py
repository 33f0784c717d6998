"""The runner on a small real pipeline: what it skips, repeats, cleans and lets fail."""

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
    """Fails as often as there are files `fail-*`, having written half; counts how often it has run."""
    Path(folder, f"ran-{len(list(Path(folder).glob('ran-*')))}").touch()
    Path(model.uri, "half").write_text(str(len(list(Path(model.uri).iterdir()))))
    for reason in sorted(Path(folder).glob("fail-*")):
        reason.unlink()
        if reason.name == "fail-badly":
            raise RuntimeError("boom")
        raise BadInput("spoilt", where="Write", expected="good", got="bad", fix="Mend it.")
    Path(model.uri, "whole").touch()


@component
def Read(model: InputArtifact[Model], copy: OutputArtifact[Model], folder: Parameter[str]) -> None:
    """Leaves a list of what it found."""
    names = sorted(path.name for path in Path(model.uri).iterdir())
    Path(folder, "read").write_text(" ".join(names))


@pytest.fixture
def folders(tmp_path):
    """A folder each for two branches that do not know each other."""
    for name in ("left", "right"):
        (tmp_path / name).mkdir()
    return {name: tmp_path / name for name in ("left", "right")}


@pytest.fixture
def run(tmp_path, folders):
    def run(run_id="run.1", guards=None, stopping=lambda: False):
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
        runner = LocalRunner(Progress(Console(file=io.StringIO())), run_id, guards or {}, stopping)
        runner.run(dag)
        return runner.refused

    return run


def connection(tmp_path):
    return metadata.sqlite_metadata_connection_config(str(tmp_path / "metadata.sqlite"))


def times_run(folder):
    return len(list(folder.glob("ran-*")))


def test_a_run_that_is_gone_on_with_skips_what_is_done(run, folders):
    assert run() == run() == {}
    assert times_run(folders["left"]) == 1
    run("run.2")
    assert times_run(folders["left"]) == 2


def test_what_bad_input_stops_is_the_node_and_what_follows_it(run, folders):
    (folders["left"] / "fail-1").touch()
    refused = run()

    assert set(refused) == {"Write_left", "Read_left"}
    assert "Write: spoilt: expected good, got bad" in str(refused["Read_left"])
    assert (folders["right"] / "read").read_text() == "half whole"


def test_a_node_that_failed_is_repeated_from_a_clean_folder(run, folders):
    (folders["left"] / "fail-1").touch()
    run()

    assert run() == {}
    assert (folders["left"] / "read").read_text() == "half whole"
    assert (times_run(folders["left"]), times_run(folders["right"])) == (2, 1)


def test_a_broken_program_ends_the_run_and_leaves_nothing_to_the_next_attempt(run, folders, tmp_path):
    (folders["left"] / "fail-badly").touch()
    with pytest.raises(RuntimeError, match="boom"):
        run()
    with metadata.Metadata(connection(tmp_path)) as handle:
        (execution,) = handle.store.get_executions()
    # What a kill would have left; TFX tidies up after errors alone.
    left = tmp_path / "artifacts" / "Write_left" / "model" / str(execution.id) / "left behind"
    left.parent.mkdir(parents=True)
    left.touch()

    assert run() == {}
    assert not left.exists()
    assert (left.parent / "half").read_text() == "0", "the folder was empty when the node ran again"


def test_the_same_execution_ends_whatever_the_number_of_attempts(run, folders, tmp_path):
    (folders["left"] / "fail-1").touch()
    run()
    run()

    with metadata.Metadata(connection(tmp_path)) as handle:
        states = [each.last_known_state for each in handle.store.get_executions()]
    assert states == [metadata_store_pb2.Execution.COMPLETE] * 4


def test_a_guard_keeps_a_node_from_running_and_sees_metadata(run, folders):
    seen = []

    def guard(handle, run_id):
        with handle as opened:
            seen.append((run_id, len(opened.store.get_executions())))
        raise BadInput("leak", where="here", expected="none", got="one", fix="Stop.")

    assert set(run(guards={"Write_right": guard})) == {"Write_right", "Read_right"}
    assert seen == [("run.1", 1)], "Write_left is known"
    assert times_run(folders["right"]) == 0


def test_asked_to_stop_it_stops_between_two_nodes_and_is_gone_on_with(run, folders):
    asked = iter([False, True])
    with pytest.raises(Stopped, match="Write_right"):
        run(stopping=lambda: next(asked))
    assert (times_run(folders["left"]), times_run(folders["right"])) == (1, 0)

    assert run() == {}
    assert (times_run(folders["left"]), times_run(folders["right"])) == (1, 1)


def test_a_node_reads_nothing_of_earlier_runs_from_mlmd(run, tmp_path, monkeypatch):
    for number in range(3):
        run(f"run.{number}")
    read = []
    asked = metadata_store.MetadataStore.get_executions_by_context

    def counted(self, *arguments, **options):
        found = asked(self, *arguments, **options)
        read.append(len(found))
        return found

    monkeypatch.setattr(metadata_store.MetadataStore, "get_executions_by_context", counted)
    run("run.3")
    assert sum(read) > 0
    assert max(read) <= 4, "as many as the run has nodes"
