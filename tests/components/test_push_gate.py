import json
import logging

import pyarrow as pa
import pytest
from tfx.components.util import model_utils
from tfx.types.standard_artifacts import ModelBlessing

from components.artifacts import Predictions
from components.candidate_check import write_decision
from components.evaluation.candidate import CandidateVerdict
from components.evaluation.predictions import predictions_schema, span_file, with_schema, write_predictions
from components.evaluation.push_gate import PushRule
from components.output_files import CANDIDATE_VERDICT_FILE
from components.push_gate import PushGate
from models.settings import to_json
from models.tasks import Task

TASKS = {"click": Task(kind="binary", group="pet")}
GOOD, POOR = [0.9, 0.8, 0.2, 0.1], [0.1, 0.2, 0.8, 0.9]


def artifact(kind, folder):
    new = kind()
    new.uri = str(folder)
    return new


@pytest.fixture
def gate(tmp_path):
    """Runs the gate of span 7; by default the control's predictions of spans 6 and 7 are perfect."""

    def run(blessed, student, control=GOOD):
        for span in (6, 7):
            columns = {
                "example_id": [f"{span}{user}" for user in "uvwx"],
                "cluster_id": list("uvwx"),
                "impression_span": [span] * 4,
                "label_click": [1.0, 1.0, 0.0, 0.0],
                "student_click": student,
                "control_click": control,
            }
            rows = with_schema(pa.table(columns), predictions_schema(TASKS))
            write_predictions(rows, tmp_path / "predictions" / span_file(span))
        blessing = artifact(ModelBlessing, tmp_path / "blessing")
        verdict = CandidateVerdict(blessed, "some reason", None, None, {}, {})
        write_decision(blessing, blessed, CANDIDATE_VERDICT_FILE, verdict)
        decision = artifact(ModelBlessing, tmp_path / "decision")
        PushGate.test_call(
            blessing=blessing,
            predictions=artifact(Predictions, tmp_path / "predictions"),
            decision=decision,
            surface="tab_1",
            span=7,
            rule=to_json(PushRule(task="click")),
            tasks=json.dumps({"click": json.loads(to_json(TASKS["click"]))}),
            resamples=40,
            min_positives=1,
            seed=1,
        )
        return decision, json.loads((tmp_path / "decision" / "gate.json").read_text())

    return run


def test_a_blessed_student_as_good_as_its_control_is_pushed(gate, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        decision, verdict = gate(blessed=True, student=GOOD)

    assert model_utils.is_model_blessed(decision)
    assert sorted(path.name for path in (tmp_path / "decision").iterdir()) == ["BLESSED", "gate.json"]
    assert (verdict["push"], verdict["rests_on"], verdict["spans"]) == (True, "control", [6, 7])
    assert (verdict["difference"], verdict["lower_bound"], verdict["examples"]) == (0.0, 0.0, 8)
    assert decision.get_string_custom_property("reason") == verdict["reason"]
    assert not caplog.records


def test_a_blessed_student_worse_than_its_control_is_held_back(gate, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        decision, verdict = gate(blessed=True, student=POOR)

    assert not model_utils.is_model_blessed(decision)
    assert sorted(path.name for path in (tmp_path / "decision").iterdir()) == ["NOT_BLESSED", "gate.json"]
    assert (verdict["push"], verdict["lower_bound"]) == (False, -1.0)
    assert "push of tab_1, span 7, held back: AUC of click: the student's lead over its " in caplog.text


def test_a_discarded_candidate_is_not_pushed_even_if_students_are_good(gate, tmp_path):
    decision, verdict = gate(blessed=False, student=GOOD, control=POOR)

    assert not model_utils.is_model_blessed(decision)
    assert (tmp_path / "decision" / "NOT_BLESSED").exists()
    assert (verdict["push"], verdict["rests_on"]) == (False, "candidate check")
    assert verdict["reason"] == "the candidate was discarded"


def test_without_a_control_a_blessed_student_is_pushed_on_the_candidate_check(gate):
    decision, verdict = gate(blessed=True, student=POOR, control=[None] * 4)

    assert model_utils.is_model_blessed(decision)
    assert (verdict["rests_on"], verdict["spans"]) == ("candidate check", [])


def test_a_decision_is_written_for_the_pusher_and_as_json(tmp_path):
    blessing = artifact(ModelBlessing, tmp_path)
    verdict = CandidateVerdict(True, "fine", 0.5, 0.6, {"click": 0.5}, {"click": 0.6})
    write_decision(blessing, True, CANDIDATE_VERDICT_FILE, verdict)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["BLESSED", "verdict.json"]
    assert json.loads((tmp_path / "verdict.json").read_text())["candidate_loss"] == 0.5
    assert blessing.get_string_custom_property("reason") == "fine"
    assert model_utils.is_model_blessed(blessing)
