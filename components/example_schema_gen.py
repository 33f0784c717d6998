"""ExampleSchemaGen: the schema of the examples of a deployment with a history."""

from pathlib import Path

from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import io_utils

from components.event_schema import read_schema, with_history
from components.history.settings import History
from models.settings import from_json

_FILE_NAME = "schema.pbtxt"


@component
def ExampleSchemaGen(
    schema: OutputArtifact[standard_artifacts.Schema], schema_file: Parameter[str], history: Parameter[str]
) -> None:
    """Writes the schema of the event log together with the columns that the history adds.

    Replaces TFX's ImportSchemaGen, which copies the file.

    Args:
        schema: The Schema artifact to write.
        schema_file: TFMD schema of the event log.
        history: JSON of the `History`.
    """
    extended = with_history(read_schema(Path(schema_file)), from_json(History, history))
    io_utils.write_pbtxt_file(f"{schema.uri}/{_FILE_NAME}", extended)
