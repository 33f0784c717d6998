from components.history.blocks import Block, block_name, cover, has_spans, missing_blocks, named_versions


def test_a_range_is_covered_by_the_fewest_aligned_blocks_in_order():
    assert cover(0, 13) == [Block(0, 8), Block(8, 12), Block(12, 13)]
    assert cover(5, 12) == [Block(5, 6), Block(6, 8), Block(8, 12)]
    assert cover(3, 3) == []


def test_every_range_is_covered_exactly_with_few_blocks():
    for first in range(20):
        for end in range(first, 70):
            blocks = cover(first, end)
            assert [span for block in blocks for span in range(block.first, block.end)] == list(
                range(first, end)
            )
            assert len(blocks) <= 2 * max(1, end - first).bit_length()
            for block in blocks:
                length = block.end - block.first
                assert length & (length - 1) == 0
                assert block.first % length == 0


def test_missing_blocks_come_after_their_halves_and_stored_ones_are_left_out():
    versions = dict.fromkeys(range(8), 0)
    blocks = missing_blocks(
        [Block(0, 4), Block(0, 4)], versions, lambda block: block in (Block(0, 2), Block(2, 3))
    )
    assert blocks == [Block(3, 4), Block(2, 4), Block(0, 4)]


def test_blocks_without_a_span_of_the_log_are_not_computed():
    versions = {5: 0}
    assert missing_blocks([Block(0, 4), Block(4, 8)], versions, lambda block: False) == [
        Block(5, 6),
        Block(4, 6),
        Block(4, 8),
    ]
    assert has_spans(Block(4, 6), versions)
    assert not has_spans(Block(6, 8), versions)


def test_the_name_of_a_run_depends_on_the_versions_of_its_spans():
    versions = {0: 0, 1: 0, 2: 0}
    assert block_name(Block(0, 2), versions) == "spans=0-1"
    names = [
        block_name(Block(0, 2), changed)
        for changed in (versions, versions | {1: 1}, versions | {1: 2}, {0: 0})
    ]
    assert len(set(names)) == 4
    assert block_name(Block(0, 2), versions | {2: 1}) == "spans=0-1"
    assert block_name(Block(2, 3), versions | {2: 4}) == "spans=2-2-v4"


def test_the_versions_of_single_spans_are_read_from_the_names_of_their_folders():
    names = [
        "spans=7-7",
        "spans=12-12-v3",
        "spans=12-12-v2",
        "spans=12-12",
        "spans=4-7",
        "spans=1-11",
        "other",
    ]
    assert named_versions(names) == {7: 0, 12: 3}
    assert named_versions(["spans=0-1-0123abcd", "spans=3-3-0123abcd"]) == {}
