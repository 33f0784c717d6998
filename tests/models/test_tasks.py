import pydantic
import pytest

from models.settings import from_json, to_json
from models.tasks import Task


def test_settings_of_older_roots_have_the_delay_of_their_logs():
    older = '{"kind": "regression", "group": "other", "unit": "seconds", "delayed": true}'
    assert from_json(Task, older).delay == 3
    assert from_json(Task, older.replace("true", "false")).delay == 0


def test_a_delay_survives_json():
    task = Task(kind="binary", group="pst", delay=2)
    assert from_json(Task, to_json(task)) == task
    assert task.delayed


def test_a_negative_delay_is_refused():
    with pytest.raises(pydantic.ValidationError, match="greater than or equal to 0"):
        Task(kind="binary", group="pst", delay=-1)
