"""Of many like failures: the first of each sort, then one in five minutes, with how many were left out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresher.core.instant import Instant
from refresher.logs.repeats import EVERY, QUIET, Episode, Repeats, sort_of
from tests.core.builders import NOW


class Story:
    """Failures on a virtual clock."""

    def __init__(self) -> None:
        self.repeats = Repeats()
        self.now = NOW

    def fails(
        self, sort: str = "down", *, after: float = 0.0, subject: str = "mint", token: str = "a"
    ) -> Episode | None:
        self.now += after
        return self.repeats.failed(token, subject, sort, self.now)

    def mends(self, *, after: float = 0.0, subject: str = "mint", token: str = "a") -> Episode | None:
        self.now += after
        return self.repeats.mended(token, subject, self.now)


def counts(episode: Episode | None) -> tuple[int, int] | None:
    """How many failures the line tells of, and how many of them had none."""
    return None if episode is None else (episode.times, episode.left_out)


def test_the_first_failure_is_told_and_the_next_ones_are_left_out():
    story = Story()
    assert counts(story.fails()) == (1, 0)
    assert story.fails(after=2.0) is None
    assert story.fails(after=4.0) is None


def test_after_five_minutes_one_is_told_with_how_many_were_left_out():
    story = Story()
    assert [counts(story.fails(after=60.0)) for _ in range(12)] == [
        (1, 0), None, None, None, None,
        (6, 4), None, None, None, None,
        (11, 4), None,
    ]  # fmt: skip


def test_an_episode_tells_since_when():
    story = Story()
    story.fails()
    story.fails(after=100.0)
    assert story.fails(after=EVERY).since == NOW


def test_another_sort_of_failure_is_told_at_once_and_belongs_to_the_same_episode():
    story = Story()
    story.fails("down")
    story.fails("down", after=1.0)
    episode = story.fails("refused", after=1.0)
    assert counts(episode) == (3, 1)
    assert episode.since == NOW


def test_sorts_that_take_turns_are_told_once_each_in_five_minutes():
    story = Story()
    told = [(story.fails("502", after=30.0), story.fails("timeout", after=30.0)) for _ in range(6)]
    assert [tuple(map(counts, pair)) for pair in told] == [
        ((1, 0), (2, 0)),
        (None, None),
        (None, None),
        (None, None),
        (None, None),
        ((11, 8), (12, 0)),
    ]


def test_what_is_mended_is_told_of_as_it_was_and_begins_anew():
    story = Story()
    story.fails()
    story.fails(after=2.0)
    ended = story.mends(after=4.0)
    assert (ended.since, ended.times) == (NOW, 2)
    assert story.mends() is None
    assert counts(story.fails(after=1.0)) == (1, 0)
    assert story.fails(after=1.0) is None


def test_subjects_and_tokens_have_episodes_of_their_own():
    story = Story()
    story.fails()
    assert counts(story.fails(subject="write")) == (1, 0)
    assert counts(story.fails(token="b")) == (1, 0)
    story.mends(subject="write")
    assert story.fails() is None
    assert story.fails(token="b") is None


@pytest.mark.parametrize(("silence", "is_new"), [(QUIET, False), (QUIET + 1.0, True)])
def test_a_failure_after_half_an_hour_of_silence_is_a_new_one(silence, is_new):
    story = Story()
    story.fails()
    episode = story.fails(after=silence)
    assert episode.times == (1 if is_new else 2)
    assert episode.since == (story.now if is_new else NOW)


def test_nothing_is_mended_that_has_not_failed_for_half_an_hour():
    story = Story()
    story.fails()
    assert story.mends(after=QUIET + 1.0) is None


def test_a_wall_clock_that_jumps_neither_silences_nor_repeats():
    repeats = Repeats()
    repeats.failed("a", "mint", "down", NOW)
    assert repeats.failed("a", "mint", "down", Instant(NOW.wall + 86400.0, NOW.boot + 1.0)) is None
    assert repeats.failed("a", "mint", "down", Instant(NOW.wall - 86400.0, NOW.boot + EVERY)) is not None


@given(st.lists(st.tuples(st.sampled_from(("x", "y")), st.integers(0, int(QUIET))), max_size=60))
def test_no_sort_is_silent_for_longer_or_told_more_often_than_every_five_minutes(failures):
    story = Story()
    last: dict[str, float] = {}
    told = left_out = 0
    for sort, after in failures:
        episode = story.fails(sort, after=after)
        due = story.now.boot - last.get(sort, float("-inf")) >= EVERY
        assert (episode is not None) == due
        if episode is not None:
            last[sort] = story.now.boot
            told, left_out = told + 1, left_out + episode.left_out
            assert episode.times == told + left_out  # no failure is missing in the counts


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("no whole answer from h within 9.97 s", "no whole answer from h within 10 s"),
        ("no connection to h within 1e-05 s", "no connection to h within 2.5 s"),
    ],
)
def test_how_many_seconds_a_time_out_was_given_makes_no_other_sort(one, other):
    assert sort_of(one) == sort_of(other) != one


@pytest.mark.parametrize(
    "message", ["500", "502: try 3 servers", "api.inlive.app:443: Connection refused", "10 shops"]
)
def test_other_numbers_do(message):
    assert sort_of(message) == message
