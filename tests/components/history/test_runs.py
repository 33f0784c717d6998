from components.history.runs import Run, cover, has_spans, missing_runs, run_name


def test_a_range_is_covered_by_the_fewest_aligned_runs_in_order():
    assert cover(0, 13) == [Run(0, 8), Run(8, 12), Run(12, 13)]
    assert cover(5, 12) == [Run(5, 6), Run(6, 8), Run(8, 12)]
    assert cover(3, 3) == []


def test_every_range_is_covered_exactly_with_few_runs():
    for first in range(20):
        for end in range(first, 70):
            runs = cover(first, end)
            assert [span for run in runs for span in range(run.first, run.end)] == list(range(first, end))
            assert len(runs) <= 2 * max(1, end - first).bit_length()
            for run in runs:
                length = run.end - run.first
                assert length & (length - 1) == 0
                assert run.first % length == 0


def test_missing_runs_come_after_their_halves_and_stored_ones_are_left_out():
    versions = dict.fromkeys(range(8), 0)
    runs = missing_runs([Run(0, 4), Run(0, 4)], versions, lambda run: run in (Run(0, 2), Run(2, 3)))
    assert runs == [Run(3, 4), Run(2, 4), Run(0, 4)]


def test_runs_without_a_span_of_the_log_are_not_computed():
    versions = {5: 0}
    assert missing_runs([Run(0, 4), Run(4, 8)], versions, lambda run: False) == [
        Run(5, 6),
        Run(4, 6),
        Run(4, 8),
    ]
    assert has_spans(Run(4, 6), versions)
    assert not has_spans(Run(6, 8), versions)


def test_the_name_of_a_run_depends_on_the_versions_of_its_spans():
    versions = {0: 0, 1: 0, 2: 0}
    assert run_name(Run(0, 2), versions) == "spans=0-1"
    names = [
        run_name(Run(0, 2), changed) for changed in (versions, versions | {1: 1}, versions | {1: 2}, {0: 0})
    ]
    assert len(set(names)) == 4
    assert run_name(Run(0, 2), versions | {2: 1}) == "spans=0-1"
