"""How every token and output stands, for programs and for people."""

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refresher.core.events import KeyUnreadable, MintFailed, WriteFailed
from refresher.core.state import OutputPolicy
from refresher.core.status import TokenStatus, status_of
from refresher.observers import status, status_page
from refresher.metrics.counters import Leadership
from tests.core.builders import KEY, KEY_REFUSED, token
from tests.observed import Daemon, at_work

FILE = "file:/var/run/inlive/access-token"
ONE = (OutputPolicy(FILE, 0.0, False),)


def statuses(daemon: Daemon) -> list[TokenStatus]:
    now = daemon.clock.now()
    return [status_of(state, policy, now) for policy, state in daemon.view()]


def reasons(daemon: Daemon) -> list[dict[str, str | None]]:
    return status.reasons(daemon.view(), daemon.clock.now())


def document(daemon: Daemon) -> dict[str, Any]:
    return status.document(statuses(daemon), daemon.clock.now(), "1.2.3")


def table(daemon: Daemon) -> list[str]:
    return status.table(document(daemon)).splitlines()


def columns(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in line)


def in_trouble() -> Daemon:
    """The key was refused at the start, and one of two outputs cannot be written."""
    daemon = Daemon("studio", outputs=(*ONE, OutputPolicy("file:/full/token", 0.0, False)))
    daemon.begin("studio")
    daemon.tell("studio", MintFailed(KEY, KEY_REFUSED, roll=1.0))
    daemon.tell(
        "studio", WriteFailed("file:/full/token", "cannot write /full/token: no space left", roll=1.0)
    )
    return daemon


# --- The document.


def test_a_token_at_work_is_told_of_whole() -> None:
    daemon = at_work("studio", outputs=ONE)
    daemon.clock.time += 600.25
    assert document(daemon) == {
        "version": "1.2.3",
        "time": "2027-01-15T08:10:00Z",
        "valid": True,
        "leases": [],
        "tokens": [
            {
                "name": "studio",
                "valid": True,
                "issued_at": "2027-01-15T08:00:00Z",
                "expires_at": "2027-01-15T09:00:00Z",
                "remaining_seconds": 2999.75,
                "lifetime_seconds": 3600.0,
                "lifetime_shortfall_seconds": 0.0,
                "headroom_seconds": 1010.0,
                "next_refresh_at": "2027-01-15T08:42:00Z",
                "next_reason": "scheduled",
                "key_fingerprint": KEY.fingerprint,
                "key_accepted": True,
                "token_fingerprint": token().facts.fingerprint,
                "problems": [],
                "outputs": [
                    {
                        "name": FILE,
                        "valid": True,
                        "issued_at": "2027-01-15T08:00:00Z",
                        "expires_at": "2027-01-15T09:00:00Z",
                        "remaining_seconds": 2999.75,
                        "token_fingerprint": token().facts.fingerprint,
                        "owner": None,
                        "problem": None,
                    }
                ],
            }
        ],
    }


def of(*leases: Leadership) -> dict[str, Any]:
    daemon = at_work("studio")
    return status.document(statuses(daemon), daemon.clock.now(), "1.2.3", leases)


@pytest.mark.parametrize(
    ("leases", "lines"),
    [
        ([], []),
        ([Leadership("inlive/refresher", leads=True)], ["leads: holds the lease inlive/refresher"]),
        (
            [Leadership("inlive/refresher", leads=False, holder="pod-2")],
            ["stands by: pod-2 holds the lease inlive/refresher"],
        ),
        (
            [Leadership("inlive/refresher", leads=False, problem="no answer")],
            ["stands by: nobody that is known holds the lease inlive/refresher", "! no answer"],
        ),
        (
            [
                Leadership("inlive/a", leads=False, holder="pod-2", problem="no answer"),
                Leadership("inlive/b", leads=True),
            ],
            ["stands by: pod-2 holds the lease inlive/a", "! no answer", "leads: holds the lease inlive/b"],
        ),
    ],
)
def test_who_leads_stands_above_the_tokens(leases: list[Leadership], lines: list[str]) -> None:
    document = of(*leases)
    told = status.table(document).splitlines()
    assert told[1 : 1 + len(lines)] == lines
    assert told[1 + len(lines)] == ""
    assert json.loads(json.dumps(document))["leases"] == [each._asdict() for each in leases]
    page = status_page.page(document)
    assert all(line in page for line in lines)


@pytest.mark.parametrize("known", [7, "x", {}, [7], [{}], [{"leads": "yes", "lease": 1, "problem": {}}]])
def test_leases_in_another_form_are_no_mistake(known: object) -> None:
    assert status.table(of() | {"leases": known})


def test_what_is_not_known_is_null_and_not_left_out() -> None:
    (told,) = document(Daemon("studio"))["tokens"]
    assert told.keys() == document(at_work("studio"))["tokens"][0].keys()
    unknown = {name for name, value in told.items() if value is None}
    assert unknown == {
        "issued_at",
        "expires_at",
        "remaining_seconds",
        "lifetime_shortfall_seconds",
        "next_refresh_at",
        "next_reason",
        "key_fingerprint",
        "key_accepted",
        "token_fingerprint",
    }
    assert told["outputs"][0]["expires_at"] is None


def test_what_has_passed_is_negative() -> None:
    daemon = at_work("studio")
    daemon.clock.time += 3660.0
    told = document(daemon)
    assert told["valid"] is False
    assert told["tokens"][0]["outputs"][0]["remaining_seconds"] == -60.0


def test_one_token_that_is_not_valid_is_enough_for_the_whole_not_to_be() -> None:
    daemon = at_work("studio")
    daemon.tokens |= Daemon("radio").tokens
    assert document(daemon)["valid"] is False


def test_it_is_json_and_holds_no_secret() -> None:
    secret = token()
    assert secret.refresh_token is not None
    text = json.dumps([document(at_work("studio")), document(in_trouble())], allow_nan=False)
    assert "key_refused" in text
    for each in (KEY, secret.access, secret.refresh_token):
        assert each.reveal() not in text


# --- Reasons for not being ready.


def test_each_output_without_a_valid_token_is_a_reason() -> None:
    assert reasons(in_trouble()) == [
        {"token": "studio", "output": FILE, "problem": "holds no token that is known to be valid"},
        {
            "token": "studio",
            "output": "file:/full/token",
            "problem": "cannot write /full/token: no space left",
        },
    ]


def test_an_output_in_trouble_that_still_holds_a_valid_token_is_no_reason() -> None:
    daemon = at_work("studio", outputs=ONE)
    daemon.tell("studio", WriteFailed(FILE, "no space left", roll=1.0))
    assert document(daemon)["tokens"][0]["outputs"][0]["problem"] == "no space left"
    assert reasons(daemon) == []


# --- The table.


def test_a_line_for_each_token_and_one_indented_for_each_output() -> None:
    daemon = at_work("studio", outputs=ONE)
    daemon.clock.time += 600.0
    assert table(daemon) == [
        "refresher 1.2.3 at 2027-01-15T08:10:00Z: every output holds a valid token",
        "",
        "TOKEN                                VALID  LEFT  EXPIRES               NEXT MINT",
        "studio                               yes    50m   2027-01-15T09:00:00Z  in 32m, scheduled",
        f"  {FILE}  yes    50m   2027-01-15T09:00:00Z",
    ]


def test_problems_stand_below_what_they_concern_and_once_only() -> None:
    assert table(in_trouble()) == [
        "refresher 1.2.3 at 2027-01-15T08:00:00Z: NOT EVERY OUTPUT HOLDS A VALID TOKEN",
        "",
        "TOKEN                                VALID  LEFT  EXPIRES  NEXT MINT",
        "studio                               NO     -     -        in 2s, first",
        f"    ! key_refused (key {KEY.fingerprint}): the issuer answered 403",
        f"  {FILE}  NO     -     -",
        "      ! holds no token that is known to be valid",
        "  file:/full/token                   NO     -     -",
        "      ! cannot write /full/token: no space left",
    ]


def test_of_a_path_too_long_the_end_is_kept() -> None:
    daemon = at_work("studio", outputs=(OutputPolicy(f"file:/srv/{'deep/' * 40}access-token", 0.0, False),))
    header, of_token, of_output = table(daemon)[2:]
    assert of_output.startswith("  file:/")
    assert "deep/deep/access-token  yes" in of_output
    assert max(map(columns, (header, of_token, of_output))) == 100  # all of the room is used


def test_a_long_problem_goes_on_in_lines_indented_like_the_first() -> None:
    daemon = Daemon("studio")
    daemon.tell("studio", KeyUnreadable("the key file cannot be read: " + "because " * 30))
    _, _, _, _, first, second, *_ = table(daemon)
    assert first.startswith("    ! the key file cannot be read: because")
    assert second.startswith("      because because")
    assert len(first) > 90


WORDS = st.text(max_size=150) | st.text("/深いé\u0301 x\n\x1b", max_size=150)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)
TIMES = st.just("2027-01-15T08:00:00Z") | st.just("0001-01-01T00:00:00+23:59") | ANYTHING


def documents_of_strangers() -> st.SearchStrategy[dict[str, Any]]:
    """Documents with our names in them, and whatever else."""
    common = {"name": WORDS | ANYTHING, "valid": st.booleans() | ANYTHING, "expires_at": TIMES}
    common |= {"remaining_seconds": st.floats() | st.integers() | ANYTHING}
    outputs = st.fixed_dictionaries({}, optional=common | {"problem": WORDS | ANYTHING})
    token_fields = common | {
        "next_refresh_at": TIMES,
        "next_reason": WORDS | ANYTHING,
        "problems": st.lists(WORDS, max_size=3) | ANYTHING,
        "outputs": st.lists(outputs | ANYTHING, max_size=3) | ANYTHING,
    }
    tokens = st.fixed_dictionaries({}, optional=token_fields)
    fields = {
        "tokens": st.lists(tokens | ANYTHING, max_size=3) | ANYTHING,
        "time": TIMES,
        "version": ANYTHING,
    }
    return st.fixed_dictionaries({}, optional=fields | {"valid": ANYTHING})


@settings(deadline=None)
@given(documents_of_strangers())
def test_whatever_a_daemon_of_another_version_says_is_printable_and_100_columns_wide(
    stranger: dict[str, Any],
) -> None:
    text = status.table(stranger)
    assert all(line.isprintable() and columns(line) <= 100 for line in text.split("\n"))
    text.encode()


def test_fields_that_are_missing_or_of_another_form_are_dashes() -> None:
    stranger = {
        "tokens": [{"name": "studio", "valid": "maybe", "outputs": [{"remaining_seconds": True}]}, "radio"]
    }
    assert status.table(stranger).splitlines() == [
        "refresher - at -: it does not say whether all is well",
        "",
        "TOKEN   VALID  LEFT  EXPIRES  NEXT MINT",
        "studio  -      -     -        -",
        "  -     -      -     -",
    ]


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -float("inf"), 1e300, "60", True])
def test_what_is_no_number_of_seconds_is_a_dash(seconds: object) -> None:
    (row,) = status.rows({"tokens": [{"remaining_seconds": seconds}]})
    assert row.left == status.UNKNOWN


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("two\nlines", "two\\nlines"),
        ("\u202eright to left", "\\u202eright to left"),
        ("\udcff", "\\udcff"),
        ("zürich 深い", "zürich 深い"),
        ("", "-"),
        (None, "-"),
        (7, "-"),
    ],
)
def test_what_would_steer_a_terminal_is_made_visible(text: object, shown: str) -> None:
    assert status.harmless(text) == shown


@settings(deadline=None)
@given(WORDS, st.integers(min_value=4, max_value=60))
def test_what_is_shortened_fits_and_what_fits_is_not_shortened(text: str, room: int) -> None:
    shortened = status.shortened(text, room)
    assert columns(shortened) <= room
    assert (shortened == text) == (columns(text) <= room)


@settings(deadline=None)
@given(WORDS, st.integers(min_value=4, max_value=60))
def test_wrapping_loses_nothing_and_fits(text: str, room: int) -> None:
    lines = status.wrapped(text, room)
    assert all(columns(line) <= room for line in lines)
    assert "".join("".join(lines).split()) == ("".join(text.split()) or status.UNKNOWN)
