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
        "deployment": str(small_config), "tuning": "4:5", "reporting": "6:8", "batch_size": 256,
        "grid": {"learning_rates": [0.1], "passes": [1], "input_dropouts": [0.0], "finalists": 1, "seeds": 1},
        "resamples": 50, "min_positives": 50,
        "primary": {"arm": "student-0-old", "endpoints": [{"task": "click", "metric": "auc"}]},
    }  # fmt: skip
    (tmp_path / "protocol.yaml").write_text(yaml.safe_dump(document))
    return tmp_path / "protocol.yaml"


@pytest.mark.slow
def test_a_second_run_of_an_experiment_reuses_all_trials(
    small_log, stream_folder, protocol, tmp_path, monkeypatch
):
    monkeypatch.setattr(label_age, "EXTRA_AGES", (0, 2))
    out = tmp_path / "out"
    (out / "streams").mkdir(parents=True)
    (out / "streams" / stream_folder.name).symlink_to(stream_folder)
    arguments = ["experiment", "label-age", "--events", small_log, "--seeds", 2, "--out", out]
    assert run(*arguments, "--protocol", protocol).exit_code == 0

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
    # `--config` is an alias of `--protocol`.
    assert run(*arguments, "--config", protocol).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in (out / "trials").iterdir()} == trials


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (["experiment", "strategy", "--events", "none", "--out", "out"], "none: no event log"),
        (
            ["experiment", "strategy", "--events", ".", "--out", "o", "--protocol", "none.yaml"],
            "not an experiment",
        ),
        (
            ["advise", "--events", ".", "--out", "o", "--budget-minutes", "1", "--config", "none.yaml"],
            "none.yaml",
        ),
        (["online", "--config", "{config}", "--out", "out", "--arms", "student"], "arms cannot be compared"),
        (["online", "--config", "{config}", "--out", "out", "--spans", "3"], "expected at least 6"),
        (["report", "--out", "page.html"], "expected --experiment, or --config"),
        (["report", "--experiment", "none", "--out", "page.html"], "results.json: no results"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments, refusal, small_config, tmp_path, monkeypatch, capsys
):
    from rankdistill.command_line import main

    argv = [argument.format(config=small_config) for argument in arguments]
    monkeypatch.setattr(sys, "argv", ["rankdistill", *argv])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    output = capsys.readouterr().err
    assert refusal in output.splitlines()[-1]
    assert "Traceback" not in output
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("name", ["experiment", "online", "advise", "report"])
def test_every_command_and_option_has_a_help_text(name):
    from rankdistill.command_line import cli

    command = cli.commands[name]
    assert len(command.help.splitlines()[0]) <= 80
    assert all(option.help for option in command.params if option.param_type_name == "option")


@pytest.mark.parametrize("name", ["experiment", "advise"])
def test_the_alias_config_is_hidden(name):
    text = run(name, "--help").output
    assert "--protocol" in text and "--config" not in text
