import threading
from collections.abc import Iterator

import pytest

from eventlog.importing.prefetch import prefetched


def test_items_keep_their_order_and_an_error_follows_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise ValueError("a faulty item")

    found = []
    with pytest.raises(ValueError, match="a faulty item"):
        for item in prefetched(items()):
            found.append(item)
    assert found == [0, 1, 2, 3, 4]


def test_a_consumer_that_stops_ends_the_thread() -> None:
    before = threading.active_count()
    items = prefetched(iter(range(1000)))
    assert next(items) == 0
    items.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
