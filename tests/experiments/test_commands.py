import json
import sys

import pytest
import yaml

from experiments.tables import label_age


def run(*arguments):
    from click.testing import CliRunner

    from rankdistill.command_line import cli

    return CliRunner().invoke(cli, list(map(str, arguments)), catch_exceptions=False)


@pytest.fixture
def protocol(small_config, tmp_path):
    document = {
        "deployment": str(small_config), "tuning": "2:3", "reporting": "4:6", "batch_size": 256,
        "grid": {"learning_rates": [0.1], "passes": [1], "input_dropouts": [0.0], "finalists": 1, "seeds": 1},
        "resamples": 50, "min_positives": 50,
        "primary": {"arm": "student-0-old", "endpoints": [{"task": "click", "metric": "auc"}]},
    }  # fmt: skip
    (tmp_path / "protocol.yaml").write_text(yaml.safe_dump(document))
    return tmp_path / "protocol.yaml"


@pytest.mark.e2e
def test_an_experiment_from_log_to_page_and_again_without_a_trial(
    small_log, stream_folder, protocol, tmp_path, monkeypatch
):
    monkeypatch.setattr(label_age, "AGES", (0, 2))
    out = tmp_path / "out"
    (out / "streams").mkdir(parents=True)
    (out / "streams" / stream_folder.name).symlink_to(stream_folder)
    arguments = ["experiment", "label-age", "--events", small_log, "--seeds", 2, "--out", out]
    done = run(*arguments, "--config", protocol)
    assert done.exit_code == 0

    document = json.loads((out / "results.json").read_text())
    arms = {row["arm"] for row in document["rows"]}
    assert arms == {"control", "teacher-0-old", "student-0-old", "teacher-2-old", "student-2-old"}
    primary = [row for row in document["rows"] if row["p_holm"] is not None]
    assert {(row["surface"], row["arm"], row["versus"]) for row in primary} == {
        ("all", "student-0-old", "control"), ("tab_1", "student-0-old", "control"),
    }  # fmt: skip
    assert document["about"]["costs"]["teacher-0-old"]["is_teacher"]
    assert "<svg" in (out / "report.html").read_text()

    trials = {path: path.stat().st_mtime_ns for path in (out / "trials").iterdir()}
    assert run(*arguments, "--config", protocol).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in (out / "trials").iterdir()} == trials


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (["experiment", "strategy", "--events", "none", "--out", "out"], "none: no event log"),
        (
            ["experiment", "strategy", "--events", ".", "--out", "o", "--config", "none.yaml"],
            "not an experiment",
        ),
        (["online", "--config", "{config}", "--out", "out", "--arms", "student"], "arms cannot be compared"),
        (["online", "--config", "{config}", "--out", "out", "--spans", "3"], "expected at least 4"),
        (["report", "--out", "page.html"], "expected --experiment, or --config"),
        (["report", "--experiment", "none", "--out", "page.html"], "results.json: no results"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments, refusal, small_config, tmp_path, monkeypatch, capsys
):
    from rankdistill.command_line import main

    told = [argument.format(config=small_config) for argument in arguments]
    monkeypatch.setattr(sys, "argv", ["rankdistill", *told])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert refusal in said.splitlines()[-1]
    assert "Traceback" not in said
    assert not (tmp_path / "page.html").exists()
