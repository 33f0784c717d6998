import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rankdistill

HEAVY = {"tensorflow", "tfx", "apache_beam", "pyarrow", "pandas", "google.cloud.bigquery"}


@pytest.mark.parametrize("name", rankdistill.__all__)
def test_each_public_name_is_importable(name):
    assert getattr(rankdistill, name).__name__ == name


def test_type_checkers_see_the_names_that_are_imported():
    tree = ast.parse(Path(rankdistill.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    declared = {alias.name: node.module for node in block.body for alias in node.names}
    assert declared == rankdistill._MODULE_BY_NAME
    assert sorted(declared) == sorted(rankdistill.__all__)
    assert Path(rankdistill.__file__).with_name("py.typed").is_file()


def test_an_unknown_name_is_refused_with_those_that_exist():
    with pytest.raises(AttributeError, match="has no attribute 'Rankr'; it has Architecture, "):
        rankdistill.Rankr  # noqa: B018


@pytest.mark.parametrize("program", ["import rankdistill", "import rankdistill.command_line"])
def test_nothing_heavy_is_imported_before_it_is_used(program):
    code = f"import sys; {program}; print({HEAVY} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_help_lists_every_command(capsys, monkeypatch):
    from rankdistill.command_line import main

    monkeypatch.setattr(sys, "argv", ["rankdistill", "--help"])
    main()
    printed = capsys.readouterr().out
    for command in (
        "events", "config", "run", "serve-loop", "fleet", "backfill", "status", "lineage", "labels",
        "experiment", "online", "advise", "report",
    ):  # fmt: skip
        assert f"  {command} " in printed
