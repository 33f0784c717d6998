import shutil
from pathlib import Path

from tfx.types import standard_artifacts

from components.span_publisher import SpanPublisher, SpanPublisherExecutor
from components.span_records import SpanRecord, read_record, write_record
from components.span_state import SpanState, SpanStateExecutor
from models.state import EMPTY_MARKER


def model_at(folder):
    artifact = standard_artifacts.Model()
    artifact.uri = str(folder)
    return artifact


def resolve(records, target, span):
    SpanStateExecutor().Do(
        {},
        {"teacher": [model_at(target)]},
        {"records_folder": str(records), "branch": "teacher", "span": span},
    )


def test_an_artifact_of_an_earlier_span_is_copied_whole(tmp_path):
    source = tmp_path / "model" / "training-state"
    source.mkdir(parents=True)
    (source / "state.json").write_text("{}")
    write_record(
        str(tmp_path / "records"), "teacher", SpanRecord(span=3, slots={"teacher": str(tmp_path / "model")})
    )
    write_record(
        str(tmp_path / "records"),
        "teacher",
        SpanRecord(span=4, slots={"teacher": "/models/of-the-span-itself"}),
    )
    (tmp_path / "copy").mkdir()

    resolve(tmp_path / "records", tmp_path / "copy", span=4)

    assert (tmp_path / "copy" / "training-state" / "state.json").read_text() == "{}"
    assert not (tmp_path / "copy" / EMPTY_MARKER).exists()


def test_without_a_published_artifact_the_output_holds_only_the_marker(tmp_path):
    (tmp_path / "copy").mkdir()

    resolve(tmp_path / "records", tmp_path / "copy", span=4)

    assert [path.name for path in (tmp_path / "copy").iterdir()] == [EMPTY_MARKER]


def test_copied_statistics_have_their_split_names(tmp_path):
    (tmp_path / "statistics" / "Split-train").mkdir(parents=True)
    write_record(
        str(tmp_path / "records"),
        "teacher",
        SpanRecord(span=3, slots={"statistics": str(tmp_path / "statistics")}),
    )
    artifact = standard_artifacts.ExampleStatistics()
    artifact.uri = str(tmp_path / "copy")

    SpanStateExecutor().Do(
        {},
        {"statistics": [artifact]},
        {"records_folder": str(tmp_path / "records"), "branch": "teacher", "span": 4},
    )

    assert artifact.split_names == '["train"]'


def test_state_has_one_output_per_requested_slot_of_its_type():
    state = SpanState(records_folder="r", branch="tab_1", span=3, slots=("student", "predictions"))

    assert {slot: channel.type_name for slot, channel in state.outputs.items()} == {
        "student": "Model",
        "predictions": "rankdistill.Predictions",
    }


def test_publishing_writes_the_span_record(tmp_path):
    records = str(tmp_path / "records")
    SpanPublisherExecutor().Do(
        {"teacher": [model_at("/models/9")]},
        {},
        {"records_folder": records, "copies_folder": "", "branch": "teacher", "span": 5, "version": 2},
    )

    assert read_record(records, "teacher", 5) == SpanRecord(span=5, version=2, slots={"teacher": "/models/9"})


def test_with_a_published_folder_the_first_copy_of_a_version_is_kept(tmp_path):
    published, records = tmp_path / "published", str(tmp_path / "records")

    def publish(weights, version):
        folder = tmp_path / "model" / "deep"
        folder.mkdir(parents=True)
        (folder / "weights").write_text(weights)
        folders = {"records_folder": records, "copies_folder": str(published)}
        properties = folders | {"branch": "teacher", "span": 5}
        SpanPublisherExecutor().Do(
            {"teacher": [model_at(tmp_path / "model")]}, {}, properties | {"version": version}
        )
        shutil.rmtree(tmp_path / "model")
        copy = Path(read_record(records, "teacher", 5).slots["teacher"])
        assert copy.is_relative_to(published)
        return (copy / "deep" / "weights").read_text()

    assert publish("first", 2) == "first"
    assert publish("second attempt", 2) == "first"
    assert publish("revised", 3) == "revised"


def test_the_publisher_has_one_input_per_slot():
    state = SpanState(records_folder="r", branch="teacher", span=3, slots=("teacher",))
    publisher = SpanPublisher(
        records_folder="r", branch="teacher", span=3, slots={"teacher": state.outputs["teacher"]}
    )

    assert list(publisher.inputs) == ["teacher"]
    assert not publisher.outputs
