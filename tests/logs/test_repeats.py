"""Repeated failures: the first of each kind is logged, then one in five minutes, with their count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresher.core.instant import Instant
from refresher.logs.repeats import EVERY, QUIET, Episode, Repeats
from tests.core.builders import NOW


class Story:
    """Failures on a virtual clock."""

    def __init__(self) -> None:
        self.repeats = Repeats()
        self.now = NOW

    def fails(
        self, kind: str = "down", *, after: float = 0.0, subject: str = "mint", token: str = "a"
    ) -> Episode | None:
        self.now += after
        return self.repeats.failed(token, subject, kind, self.now)

    def recovers(self, *, after: float = 0.0, subject: str = "mint", token: str = "a") -> Episode | None:
        self.now += after
        return self.repeats.recovered(token, subject, self.now)


def counts(episode: Episode | None) -> tuple[int, int] | None:
    """How many failures there were, and how many of them were not logged since the last line."""
    return None if episode is None else (episode.failures, episode.unlogged)


def test_the_first_failure_is_logged_and_the_next_ones_are_not():
    story = Story()
    assert counts(story.fails()) == (1, 0)
    assert story.fails(after=2.0) is None
    assert story.fails(after=4.0) is None


def test_after_five_minutes_a_failure_is_logged_with_the_count_of_those_that_were_not():
    story = Story()
    assert [counts(story.fails(after=60.0)) for _ in range(12)] == [
        (1, 0), None, None, None, None,
        (6, 4), None, None, None, None,
        (11, 4), None,
    ]  # fmt: skip


def test_an_episode_knows_when_it_began():
    story = Story()
    story.fails()
    story.fails(after=100.0)
    assert story.fails(after=EVERY).since == NOW


def test_another_kind_of_failure_is_logged_at_once_and_belongs_to_the_same_episode():
    story = Story()
    story.fails("down")
    story.fails("down", after=1.0)
    episode = story.fails("refused", after=1.0)
    assert counts(episode) == (3, 1)
    assert episode.since == NOW


def test_kinds_that_alternate_are_logged_once_each_in_five_minutes():
    story = Story()
    logged = [(story.fails("502", after=30.0), story.fails("timeout", after=30.0)) for _ in range(6)]
    assert [tuple(map(counts, pair)) for pair in logged] == [
        ((1, 0), (2, 0)),
        (None, None),
        (None, None),
        (None, None),
        (None, None),
        ((11, 8), (12, 0)),
    ]


def test_a_recovery_returns_the_episode_and_ends_it():
    story = Story()
    story.fails()
    story.fails(after=2.0)
    ended = story.recovers(after=4.0)
    assert (ended.since, ended.failures) == (NOW, 2)
    assert story.recovers() is None
    assert counts(story.fails(after=1.0)) == (1, 0)
    assert story.fails(after=1.0) is None


def test_each_subject_of_each_token_has_its_own_episode():
    story = Story()
    story.fails()
    assert counts(story.fails(subject="write")) == (1, 0)
    assert counts(story.fails(token="b")) == (1, 0)
    story.recovers(subject="write")
    assert story.fails() is None
    assert story.fails(token="b") is None


@pytest.mark.parametrize(("silence", "is_new"), [(QUIET, False), (QUIET + 1.0, True)])
def test_a_failure_after_half_an_hour_of_silence_is_a_new_one(silence, is_new):
    story = Story()
    story.fails()
    episode = story.fails(after=silence)
    assert episode.failures == (1 if is_new else 2)
    assert episode.since == (story.now if is_new else NOW)


def test_nothing_recovers_that_has_not_failed_for_half_an_hour():
    story = Story()
    story.fails()
    assert story.recovers(after=QUIET + 1.0) is None


def test_a_wall_clock_that_jumps_neither_silences_nor_repeats():
    repeats = Repeats()
    repeats.failed("a", "mint", "down", NOW)
    assert repeats.failed("a", "mint", "down", Instant(NOW.wall + 86400.0, NOW.boot + 1.0)) is None
    assert repeats.failed("a", "mint", "down", Instant(NOW.wall - 86400.0, NOW.boot + EVERY)) is not None


@given(st.lists(st.tuples(st.sampled_from(("x", "y")), st.integers(0, int(QUIET))), max_size=60))
def test_each_kind_is_logged_every_five_minutes_not_more_often_and_not_less(failures):
    story = Story()
    last: dict[str, float] = {}
    logged = unlogged = 0
    for kind, after in failures:
        episode = story.fails(kind, after=after)
        due = story.now.boot - last.get(kind, float("-inf")) >= EVERY
        assert (episode is not None) == due
        if episode is not None:
            last[kind] = story.now.boot
            logged, unlogged = logged + 1, unlogged + episode.unlogged
            assert episode.failures == logged + unlogged  # no failure is missing in the counts


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("no complete response from h within 9.97 s", "no complete response from h within 10 s"),
        ("no connection to h within 1e-05 s", "no connection to h within 2.5 s"),
    ],
)
def test_the_seconds_of_a_time_out_do_not_distinguish_kinds(one, other):
    story = Story()
    story.fails(one)
    assert story.fails(other) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [("500", "502"), ("502: try 3 servers", "502: try 4 servers"), ("10 shops", "11 shops")],
)
def test_other_numbers_do(one, other):
    story = Story()
    story.fails(one)
    assert story.fails(other) is not None
