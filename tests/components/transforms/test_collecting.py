from components.label_store.base import DamagedSet, lost_file_error
from components.transforms.collecting import find_bad_input


def test_a_subclass_of_bad_input_is_found_by_its_name_in_the_text_of_a_worker_error():
    lost = lost_file_error("s", "p")
    line = f"RuntimeError: components.label_store.base.DamagedSet: {lost} [while running 'Scan']"
    found = find_bad_input(RuntimeError(f"Traceback:\n  File x\n{line}"))
    assert isinstance(found, DamagedSet)
    assert str(found) == str(lost)
