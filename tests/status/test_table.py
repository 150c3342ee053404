"""The status as a table in a terminal of 100 columns."""

import re
import unicodedata
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from refresher.core.advice import ADVICE, ADVICE_ON, Code
from refresher.core.events import KeyUnreadable, MintFailed
from refresher.core.model import Outcome
from refresher.core.state import OutputPolicy
from refresher.status import table as layout
from refresher.status.rows import UNKNOWN
from tests.core.builders import KEY, UNREACHABLE
from tests.observed import Daemon, at_work
from tests.status.documents import (
    FILE,
    ONE,
    WORDS,
    document,
    elapse,
    foreign_documents,
    in_trouble,
    refuse,
)


def table(daemon: Daemon) -> list[str]:
    return layout.table(document(daemon), 100).splitlines()


def columns(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in line)


def test_the_table_has_a_line_for_each_token_and_each_output() -> None:
    daemon = at_work("studio", outputs=ONE)
    daemon.clock.time += 600.0
    assert table(daemon) == [
        "refresher 1.2.3 on host-1 at 2027-01-15T08:10:00Z: every output holds a valid token",
        "",
        "TOKEN                                VALID  LEFT  EXPIRES               NEXT MINT",
        "studio                               yes    50m   2027-01-15T09:00:00Z  in 32m, scheduled",
        f"  {FILE}  yes    50m   2027-01-15T09:00:00Z",
    ]


def test_problems_stand_once_below_their_token_or_output() -> None:
    assert table(in_trouble()) == [
        "refresher 1.2.3 on host-1 at 2027-01-15T08:00:00Z: NOT EVERY OUTPUT HOLDS A VALID TOKEN",
        "",
        "TOKEN                                VALID  LEFT  EXPIRES  NEXT MINT",
        "studio                               NO     -     -        in 2s, first",
        "    ! key_refused for 0s (since 2027-01-15T08:00:00Z, once): the issuer answered 403 (key",
        f"      {KEY.fingerprint})",
        f"    > {ADVICE[Outcome.KEY_REFUSED]}",
        f"  {FILE}  NO     -     -",
        "      ! no_token: holds no token known to be valid",
        "      > solve the other problems of its token; if it has none, start the refresher that writes this",
        "        output",
        "  file:/full/token                   NO     -     -",
        "      ! not_written for 0s (since 2027-01-15T08:00:00Z, once): cannot write /full/token: no space",
        "        left",
        f"      > {ADVICE_ON[Code.NOT_WRITTEN]}",
    ]


def test_a_late_refresh_shows_since_when_it_was_due_below_the_next_attempt() -> None:
    daemon = at_work("studio", outputs=ONE)
    elapse(daemon, 2700.0)
    daemon.observe("studio", MintFailed(KEY, UNREACHABLE, roll=1.0))
    of_token, remark, *_ = table(daemon)[3:]
    assert of_token.endswith("in 2s, scheduled")
    assert remark == "    due 3m ago, 2027-01-15T08:42:00Z"


def test_the_state_of_the_configuration_stands_above_the_tokens() -> None:
    daemon = at_work("studio", outputs=ONE)
    refuse(daemon, "c.yaml:3: tokens is wrong", "c.yaml:9: this too")
    daemon.clock.time += 60.0
    history = "! configuration_refused for 1m (since 2027-01-15T08:00:00Z, once):"
    assert table(daemon)[1:6] == [
        "configuration since 2027-01-15T08:00:00Z",
        f"{history} c.yaml:3: tokens is wrong",
        f"{history} c.yaml:9: this too",
        f"> {ADVICE_ON[Code.CONFIGURATION_REFUSED]}",
        "",
    ]


def test_a_long_path_keeps_its_end() -> None:
    daemon = at_work("studio", outputs=(OutputPolicy(f"file:/srv/{'deep/' * 40}access-token", 0.0, False),))
    header, of_token, of_output = table(daemon)[2:]
    assert of_output.startswith("  file:/")
    assert "deep/deep/access-token  yes" in of_output
    assert max(map(columns, (header, of_token, of_output))) == 100  # all of the room is used


def test_a_pipe_gets_whole_names_and_one_line_for_each_problem() -> None:
    name = f"file:/srv/{'deep/' * 40}access-token"
    daemon = at_work("studio", outputs=(OutputPolicy(name, 0.0, False),))
    daemon.observe("studio", KeyUnreadable("the key file cannot be read: " + "because " * 30 + "of it"))
    lines = layout.table(document(daemon)).splitlines()
    assert f"  {name}  yes" in "\n".join(lines)
    assert any("the key file" in line and line.endswith("of it") for line in lines)


def test_tokens_that_need_attention_come_first_and_the_last_line_counts_the_omitted_ones() -> None:
    valid = {"valid": True, "outputs": [], "problems": []}
    failing = {**valid, "problems": [{"code": "mint_failed", "message": "refused"}]}
    tokens = {
        "a": valid,
        "b": failing,
        "c": {**valid, "valid": False},
        "d": {**valid, "valid": None},
        "e": valid,
    }
    crowd = {"tokens": [{"name": name, **token} for name, token in tokens.items()]}

    def names(lines: str) -> list[str]:
        return re.findall(r"^([a-e]) ", lines, re.MULTILINE)

    assert names(layout.table(crowd)) == ["d", "c", "b", "a", "e"]
    assert "more tokens" not in layout.table(crowd, most=5)
    shortest = layout.table(crowd, most=2)
    assert names(shortest) == ["d", "c"]
    assert shortest.splitlines()[-1].startswith("3 more tokens, 1 of them need attention")


def test_a_narrow_terminal_shows_no_times_of_expiry() -> None:
    daemon = at_work("studio", outputs=ONE)
    lines = layout.table(document(daemon), 70).splitlines()
    assert "EXPIRES" not in "\n".join(lines)
    assert lines[-1].split()[1:] == ["yes", "1h"]
    assert "2027-01-15T09:00:00Z" in layout.table(document(daemon), 80)


def test_colours_are_only_added_around_lines() -> None:
    plain, coloured = (layout.table(document(in_trouble()), 100, colour=colour) for colour in (False, True))
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain
    styles = {
        line.partition("m")[2]: line.partition("m")[0] for line in coloured.splitlines() if "\x1b" in line
    }
    red = [text for text, style in styles.items() if style == "\x1b[1;31"]
    assert {text.split()[0] for text in red} >= {"refresher", "studio", FILE, "!"}


def test_a_long_problem_continues_in_indented_lines() -> None:
    daemon = Daemon("studio")
    daemon.observe("studio", KeyUnreadable("the key file cannot be read: " + "because " * 30))
    _, _, _, _, first, second, *_ = table(daemon)
    assert first.startswith("    ! key_unreadable for 0s (since 2027-01-15T08:00:00Z")
    assert "the key file cannot be read: because" in first
    assert second.startswith("      because because")
    assert len(first) > 90


@settings(deadline=None)
@given(foreign_documents(), st.integers(min_value=60, max_value=150))
def test_every_document_is_printable_and_fits_the_terminal(stranger: dict[str, Any], width: int) -> None:
    text = layout.table(stranger, width)
    assert all(line.isprintable() and columns(line) <= width for line in text.split("\n"))
    text.encode()


def test_missing_and_misformed_fields_are_dashes() -> None:
    stranger = {
        "tokens": [{"name": "studio", "valid": "maybe", "outputs": [{"remaining_seconds": True}]}, "radio"]
    }
    assert layout.table(stranger).splitlines() == [
        "refresher - at -: whether all outputs are valid is unknown",
        "",
        "TOKEN   VALID  LEFT  EXPIRES  NEXT MINT",
        "studio  -      -     -        -",
        "  -     -      -     -",
    ]


@settings(deadline=None)
@given(WORDS, st.integers(min_value=4, max_value=60))
def test_only_a_text_that_does_not_fit_is_shortened(text: str, room: int) -> None:
    shortened = layout.shortened(text, room)
    assert columns(shortened) <= room
    assert (shortened == text) == (columns(text) <= room)


@settings(deadline=None)
@given(WORDS, st.integers(min_value=4, max_value=60))
def test_wrapped_lines_fit_and_lose_nothing(text: str, room: int) -> None:
    lines = layout.wrapped(text, room)
    assert all(columns(line) <= room for line in lines)
    assert "".join("".join(lines).split()) == ("".join(text.split()) or UNKNOWN)
