"""`refresher refresh`: has a running daemon, or the next `once`, replace a token."""

import json
import os
import time

import pytest

from tests.commands.calls import caller
from tests.commands.daemon import Daemon, plant, refresher


@pytest.fixture
def call(capsys):
    return caller(capsys)


def configured(place, *names):
    """A configuration file with these tokens, each in a file of its name."""
    tokens = [{"name": name, "key_file": "key", "outputs": [{"file": name}]} for name in names]
    path = place / "refresher.json"
    path.write_text(json.dumps({"tokens": tokens}))
    return path


def requests(place):
    """The names of the tokens with a request."""
    return sorted(path.name[1:].removesuffix(".refresh") for path in place.glob(".*.refresh"))


def test_a_daemon_replaces_the_token_and_the_command_waits_for_it(issuer, place):
    old = plant(place / "token", age=600.0, issuer=issuer.url)
    words = ("--key-file", place / "key", "--to-file", place / "token", "--issuer-url", issuer.url)
    with Daemon(*words, endpoints=True) as daemon:
        daemon.wait_for("TokenAdopted")
        done = refresher("refresh", "--to-file", place / "token", "--timeout", "10s")
        assert (done.code, issuer.counts.mints) == (0, 1)
        daemon.wait_for("TokenMinted", reason="requested")
        assert daemon.metric('refreshes_total{reason="requested",result="success",token="default"}') == 1
    new = (place / "token").read_text()
    assert new != old
    assert issuer.valid(new)
    assert f"default: requested a new token at file:{place}/token" in done.said
    assert f"default: file:{place}/token holds a new token, valid until 2" in done.said


def test_a_pass_obeys_a_request_once(issuer, place):
    words = ("--key-file", place / "key", "--to-file", place / "token", "--issuer-url", issuer.url)
    plant(place / "token", age=600.0, issuer=issuer.url)
    assert refresher("once", *words).code == 0
    assert issuer.counts.mints == 0
    assert refresher("refresh", "--to-file", place / "token", "--no-wait").code == 0
    for _ in range(2):
        assert refresher("once", *words).code == 0
        assert issuer.counts.mints == 1


def test_without_a_daemon_the_time_runs_out_and_the_request_stays(call, place):
    plant(place / "token", age=600.0)
    done = call("refresh", "--to-file", place / "token", "--timeout", "0")
    assert done.code == 75
    assert f"timed out after 0s: file:{place}/token holds no new token" in done.err
    assert requests(place) == ["token"]


def test_a_token_that_is_new_is_announced_to_stay_for_a_while(call, place):
    plant(place / "token", age=20.0)
    done = call("refresh", "--to-file", place / "token", "--no-wait")
    assert done == (
        0,
        f"default: requested a new token at file:{place}/token; "
        "the present one is new, so it stays for 40s\n",
        "",
    )


def test_a_request_is_later_than_the_token_though_its_writers_clock_is_ahead(call, place):
    plant(place / "token", age=-60.0)
    call("refresh", "--to-file", place / "token", "--no-wait")
    assert 50.0 < os.stat(place / ".token.refresh").st_mtime - time.time() < 61.0


def test_a_token_of_the_far_future_does_not_take_the_request_along(call, place):
    plant(place / "token", age=-86400.0)
    call("refresh", "--to-file", place / "token", "--no-wait")
    assert os.stat(place / ".token.refresh").st_mtime - time.time() < 1.0


def test_one_token_of_several_is_chosen_by_its_name(call, place):
    path = configured(place, "studio", "stage")
    assert call("refresh", "stage", "--config", path, "--no-wait").code == 0
    assert requests(place) == ["stage"]


def test_all_tokens_are_chosen_by_a_flag(call, place):
    path = configured(place, "studio", "stage")
    assert call("refresh", "--all", "--config", path, "--no-wait").code == 0
    assert requests(place) == ["stage", "studio"]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ((), ("NAME: is missing", "studio, stage")),
        (("sage",), ("NAME: 'sage'", "did you mean stage?")),
        (("stage", "--all"), ("--all", "leave out NAME")),
    ],
)
def test_an_unclear_choice_is_reported_and_nothing_requested(call, place, words, parts):
    done = call("refresh", *words, "--config", configured(place, "studio", "stage"))
    assert done.code == 78
    for part in parts:
        assert part in done.err
    assert requests(place) == []


def test_a_place_that_takes_no_request_is_an_output_that_cannot_be_written(call, place):
    done = call("refresh", "--to-file", place / "absent" / "token")
    assert done.code == 73
    assert f"file:{place}/absent/token" in done.err


def test_one_output_that_takes_the_request_is_enough(call, place):
    (place / "directory").mkdir()
    files = ("--to-file", place / "directory", "--to-file", place / "token")
    done = call("refresh", *files, "--no-wait")
    assert done.code == 0
    assert f"file:{place}/directory" in done.err
    assert requests(place) == ["token"]
