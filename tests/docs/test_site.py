"""The pages that are generated from the code."""

import dataclasses
import importlib.util
import re
import subprocess

import pytest

from eventlog.tables.mapping import SideTable, TableMapping, Window
from pipeline.config import Deployment
from pipeline.roles import Surface
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def generate():
    path = REPOSITORY / "docs" / "reference" / "generate.py"
    spec = importlib.util.spec_from_file_location("generate", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("root", [Deployment, TableMapping])
def test_every_setting_has_a_row_with_a_meaning(generate, root):
    tables = generate.settings_tables(root)
    rows = [line for line in tables.splitlines() if line.startswith("| `")]
    assert not [row for row in rows if row.endswith("|  |")]
    for settings_class in (Deployment, Surface) if root is Deployment else (TableMapping, SideTable, Window):
        for field in dataclasses.fields(settings_class):
            assert any(row.startswith(f"| `{field.name}` |") for row in rows), field.name


def test_a_row_has_type_default_and_the_whole_meaning(generate):
    (row,) = [
        line for line in generate.settings_tables().splitlines() if line.startswith("| `coverage_floor`")
    ]
    key, kind, default, meaning = (cell.strip() for cell in row.strip("|").split("|"))
    assert (key, kind, default) == ("`coverage_floor`", "float", "`0.95`")
    assert meaning == "Minimum share of the span's fresh rows with a soft label, in [0, 1]."


def test_only_the_marked_page_is_changed(generate):
    assert generate.on_page_markdown("text", page=None) == "text"
    assert "## surfaces.NAME" in generate.on_page_markdown("a <!-- settings --> b")


def test_every_message_of_the_troubleshooting_page_is_in_the_code():
    rows = (REPOSITORY / "docs" / "troubleshooting.md").read_text().splitlines()
    messages = [
        text for row in rows if row.startswith("| `") for text in re.findall(r"`([^`]+)`", row.split("|")[1])
    ]
    assert len(messages) > 15
    listing = ["git", "ls-files", "*.py", ":!tests"]
    files = subprocess.run(listing, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split()
    code = "".join((REPOSITORY / name).read_text() for name in files)
    for message in messages:
        # SURFACE, N and the dots stand for what the code fills in.
        parts = [
            part.strip() for part in re.split(r"\bSURFACE\b|\bN\b|…|schema|drift|skew| (?=needs)", message)
        ]
        for part in filter(None, parts):
            assert part in code, (message, part)
