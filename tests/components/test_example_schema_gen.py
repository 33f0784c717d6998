from tfx.types import standard_artifacts

from components import example_schema_gen
from components.event_schema import read_schema, with_history
from components.history.settings import History
from eventlog.shipped_schema import shipped_schema
from models.settings import to_json

HISTORY = History(entities={"viewer": "user_id"}, tasks=("click",))


def test_the_schema_artifact_has_the_columns_of_the_log_and_of_the_history(tmp_path):
    schema, file = standard_artifacts.Schema(), shipped_schema("impressions.pbtxt")
    schema.uri = str(tmp_path)
    executor = example_schema_gen.ExampleSchemaGen_Executor()
    executor.Do({}, {"schema": [schema]}, {"schema_file": str(file), "history": to_json(HISTORY)})
    written = read_schema(tmp_path / "schema.pbtxt")
    assert written == with_history(read_schema(file), HISTORY)
    assert [column.name for column in written.feature][-2:] == [
        "history_viewer_count",
        "history_viewer_click",
    ]
