"""Runs the code blocks of README and docs in one working folder, page by page; `make docs-test`."""

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.docs.blocks import Block, blocks, pages

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


@pytest.mark.slow
@pytest.mark.docs
@pytest.mark.parametrize("page", PAGES_WITH_RUNS, ids=lambda page: page.name)
def test_the_blocks_of_a_page_run_in_their_order(page, checkout):
    environment = os.environ | {
        "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
    }
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
            command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=900, check=False
        )
        assert done.returncode == 0, (
            f"{block.page}:{block.line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        )
