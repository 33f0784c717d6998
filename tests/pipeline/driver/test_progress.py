"""Progress of long steps: lines in a log, a renewed line on a terminal."""

import io
import logging
import time

from rich.console import Console

from pipeline.driver import progress
from pipeline.driver.progress import TRAINING_LOGGER, Progress


def test_a_long_step_writes_its_seconds_and_the_training_into_a_log(monkeypatch):
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.05)
    log, logger = io.StringIO(), logging.getLogger(TRAINING_LOGGER)
    handlers = list(logger.handlers)
    reporter = Progress(Console(file=log, width=200))
    with reporter.pipeline("span 3", num_left=2), reporter.step("Trainer", 2, 7):
        logger.info("pass 1 of 2, %d rows [fast]", 1200)
        time.sleep(0.3)
    lines = log.getvalue().splitlines()
    assert "span 3 [2/7] Trainer 0 s: pass 1 of 2, 1200 rows [fast], still running" in lines[0]
    assert "2 left, about" in lines[-1]
    assert (logger.handlers, logger.level, logger.propagate) == (handlers, logging.NOTSET, True)


def test_a_short_step_is_one_line():
    log = io.StringIO()
    with Progress(Console(file=log, width=200)).step("Trainer", 2, 7):
        pass
    assert len(log.getvalue().splitlines()) == 1


def test_a_terminal_shows_the_training_on_the_line_of_the_step():
    terminal = io.StringIO()
    console = Console(file=terminal, width=200, force_terminal=True)
    with Progress(console).step("Trainer", 2, 7):
        logging.getLogger(TRAINING_LOGGER).info("1200 rows")
        time.sleep(1.3)
    assert "Trainer 1 s: 1200 rows" in terminal.getvalue()
