"""Runs the code blocks of README and docs in one working folder, page by page; `make docs-test`."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.docs.blocks import Block, blocks, pages
from tests.docs.terminal import lines_on_terminal, run_on_terminal

KINDS = re.compile(r"run|run small: .+ => .+|not run: .{8,}")
COPIED = ("runs", "build", "compiled", "data")
PAGES_WITH_RUNS = [page for page in pages() if any(block.is_run for block in blocks(page))]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_block_says_whether_it_is_run_and_why_not(page):
    for block in blocks(page):
        where = f"{block.page}:{block.line}"
        assert block.mark is not None, f"{where}: no mark in front of the block"
        assert KINDS.fullmatch(block.mark), f"{where}: {block.mark!r}"


def test_a_small_run_replaces_the_text_that_it_names():
    block = Block("p", 1, "bash", "make demo\n", "run small: make demo => echo small")
    assert block.script() == "echo small\n"
    with pytest.raises(AssertionError, match="'make all' is not in the block"):
        block._replace(mark="run small: make all => true").script()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A folder that looks like the repository, so that what the blocks write stays out of the real one."""
    folder = tmp_path_factory.mktemp("checkout")
    for entry in REPOSITORY.iterdir():
        if entry.name not in COPIED:
            (folder / entry.name).symlink_to(entry)
    # The scripts that a user has after `source .venv/bin/activate`.
    if not (folder / ".venv").exists():
        (folder / ".venv").symlink_to(sys.prefix)
    return folder


ENVIRONMENT = os.environ | {
    "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}",
    "PYTHONPATH": str(REPOSITORY),
}


@pytest.fixture(scope="module")
def demo(checkout):
    """The README's first block on a terminal, as a newcomer sees it. All pages use what it writes."""
    first = next(block for block in blocks(REPOSITORY / "README.md") if block.is_run)
    return run_on_terminal(["bash", "-euo", "pipefail", "-c", first.script()], checkout, ENVIRONMENT)


def test_a_live_line_leaves_nothing_on_the_terminal():
    live = "a\r\n\x1b[?25lone\r\x1b[2Ktwo\r\n\x1b[?25h\r\x1b[1A\x1b[2Kb\r\n"
    assert lines_on_terminal(live) == ["a", "b", ""]


@pytest.mark.slow
@pytest.mark.docs
def test_the_demo_ends_with_a_table_and_a_page_in_at_most_40_lines(demo, checkout):
    code, lines = demo
    assert code == 0, "\n".join(lines)
    assert len(lines) <= 40, "\n".join(lines)
    result = next(number for number, line in enumerate(lines) if line.startswith("Result, spans 5 to 9"))
    rows = [line.split() for line in lines[result:]]
    assert ["tab_1"] in rows and ["tab_0"] in rows
    assert sum(row[:2] == ["click", "AUC"] for row in rows) == 2
    assert "page.html" in lines[-1] and (checkout / "runs" / "demo" / "page.html").is_file()
    # No line of a single step stays.
    assert not [line for line in lines if "[1/" in line or "importing" in line], lines


@pytest.mark.slow
@pytest.mark.docs
def test_the_page_of_the_demo_needs_no_other_file(demo, checkout):
    page = (checkout / "runs" / "demo" / "page.html").read_text()
    assert set(re.findall(r'(?:src|href)="([^"#][^"]*)"', page)) <= {"data:,"}
    assert "click: auc by span" in page and "Coverage" in page and "Lag" in page


@pytest.mark.slow
@pytest.mark.docs
def test_the_notebook_reads_the_root_of_the_demo(demo, checkout):
    cells = json.loads((REPOSITORY / "docs" / "notebook.ipynb").read_text())["cells"]
    assert not any(cell.get("outputs") for cell in cells)
    script = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    check = (
        "assert len(sets) == 5 and curves.notna().all(axis=None) and (curves > 0.4).all(axis=None), curves"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", f"{script}\n{check}\n"],
        cwd=checkout, env=ENVIRONMENT | {"MPLBACKEND": "Agg"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.docs
@pytest.mark.parametrize("page", PAGES_WITH_RUNS, ids=lambda page: page.name)
def test_the_blocks_of_a_page_run_in_their_order(page, checkout, demo):
    for number, block in enumerate(blocks(page)):
        if not block.is_run:
            continue
        script = block.script()
        if block.language == "yaml":
            (checkout / f"block{number}.yaml").write_text(script)
            command = ["rankdistill", "config", "check", f"block{number}.yaml"]
        else:
            command = {
                "bash": ["bash", "-euo", "pipefail", "-c", script],
                "python": ["python", "-c", script],
            }[block.language]
        done = subprocess.run(
            command, cwd=checkout, env=ENVIRONMENT, capture_output=True, text=True, timeout=900, check=False
        )
        assert done.returncode == 0, (
            f"{block.page}:{block.line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        )
