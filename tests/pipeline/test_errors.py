from eventlog.errors import BadInput
from pipeline.errors import refusal

LINE = "span 3: empty: expected rows, got none. Write it again."


def bad_input():
    return BadInput("empty", where="span 3", expected="rows", got="none", fix="Write it again.")


def test_bad_input_is_found_among_the_causes_of_an_error():
    error = bad_input()
    wrapped = RuntimeError("step failed")
    wrapped.__cause__ = error
    assert refusal(wrapped) is error
    assert refusal(error) is error


def test_bad_input_is_found_in_the_message_of_a_beam_worker_error():
    text = f"Traceback:\n  File x\neventlog.errors.BadInput: {LINE} [while running 'Encode']"
    assert str(refusal(RuntimeError(text))) == LINE


def test_the_name_of_the_beam_step_is_removed():
    assert str(refusal(BadInput.quoted(f"{LINE} [while running 'Encode']"))) == LINE


def test_another_error_is_not_bad_input():
    assert refusal(RuntimeError("boom")) is None
