"""`refresher run` and a configuration file that changes while it runs."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from refresher.emulator.server import Emulator
from tests.commands.daemon import Daemon, eventually

RELOADED, REFUSED = "ConfigurationApplied", "ConfigurationRefused"


class Site:
    """A daemon, its issuer, and its configuration file, which names tokens and their outputs."""

    def __init__(self, place: Path, issuer: Emulator) -> None:
        self.place, self.issuer = place, issuer
        self.path = place / "refresher.yaml"
        self.daemon: Daemon

    def text(self, *tokens: dict[str, Any], **sections: Any) -> str:
        """A configuration; JSON is YAML. Paths are relative to `place`."""
        filled = [{"key_file": "key"} | token for token in tokens]
        return json.dumps({"issuer": {"url": self.issuer.url}, "tokens": filled} | sections, indent=1)

    def put(self, text: str) -> None:
        """Replace the file in one step, as kubelet does."""
        new = self.path.with_suffix(".new")
        new.write_text(text)
        os.replace(new, self.path)

    def sighup(self) -> None:
        self.daemon.send(signal.SIGHUP)

    def reload(self, text: str, event: str = RELOADED) -> Any:
        """Replace the file, demand a reload, and return the log entry about it."""
        seen = len(self.daemon.entries(event))
        self.put(text)
        self.sighup()
        return self.daemon.wait_for(event, times=seen + 1)

    def token(self, name: str) -> str:
        path = self.place / name
        return path.read_text() if path.exists() else ""

    def has(self, name: str) -> str:
        return eventually(lambda: self.token(name), f"{name} holds a token")


def token(name: str, *files: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "outputs": [{"file": file} for file in files]} | more


A, B = token("a", "token-a"), token("b", "token-b")


@pytest.fixture
def site(place: Path, issuer: Emulator) -> Iterator[Site]:
    """A daemon that has published token a in token-a."""
    site = Site(place, issuer)
    site.put(site.text(A))
    with Daemon("--config", site.path, endpoints=True) as site.daemon:
        site.daemon.wait_for("OutputWritten", token="a")
        eventually(lambda: _is_served(site.daemon), "the endpoints answer")
        yield site


def _is_served(daemon: Daemon) -> bool:
    try:
        return daemon.get("/livez").status == 200
    except OSError:
        return False


def test_a_token_that_is_added_is_minted_and_the_others_are_left_alone(site):
    before = site.token("token-a"), os.stat(site.place / "token-a").st_mtime_ns
    entry = site.reload(site.text(A, B))
    assert (entry["added"], entry["changed"], entry["removed"]) == (1, 0, 0)
    assert site.has("token-b")
    assert (site.token("token-a"), os.stat(site.place / "token-a").st_mtime_ns) == before
    assert len(site.daemon.entries("TokenMinted", token="a")) == 1


def test_a_changed_file_is_read_without_a_signal_and_not_as_long_as_it_is_half_written(site):
    whole = site.text(A, B)
    site.put(whole[: len(whole) // 2])
    site.put(whole)
    site.daemon.wait_for(RELOADED)
    assert site.has("token-b")
    assert site.daemon.entries(REFUSED) == []


def test_a_symbolic_link_that_is_swapped_is_followed(place, issuer):
    site = Site(place, issuer)
    for number, tokens in enumerate(([A], [A, B])):
        (place / f"data-{number}").mkdir()
        (place / f"data-{number}/refresher.yaml").write_text(
            site.text(*tokens).replace('"key"', f'"{place}/key"').replace('"token-', f'"{place}/token-')
        )
    (place / "data").symlink_to("data-0")
    (place / "mounted.yaml").symlink_to("data/refresher.yaml")
    with Daemon("--config", place / "mounted.yaml") as site.daemon:
        site.daemon.wait_for("OutputWritten", token="a")
        (place / "data-new").symlink_to("data-1")
        os.replace(place / "data-new", place / "data")
        site.daemon.wait_for("OutputWritten", token="b")


MISTAKES: dict[str, Callable[[Site], str]] = {
    "not YAML": lambda site: site.text(A)[:-9],
    "empty": lambda _site: "",
    "no token": lambda site: site.text(),
    "an unknown key": lambda site: site.text(A, lisen=":1"),
    "a wrong value": lambda site: site.text(A | {"lifetime": "1 parsec"}),
    "outputs that collide": lambda site: site.text(A, token("b", "token-a")),
    "an output over the key": lambda site: site.text(token("a", "key")),
    "two tokens of a name": lambda site: site.text(A, token("a", "other")),
    "a hook without its command": lambda site: site.text(
        A | {"outputs": [{"file": "token-a", "after": {"exec": ["/no/such/command"]}}]}
    ),
    "no cluster for a Secret": lambda site: site.text(A, B | {"outputs": [{"secret": "studio/token"}]}),
}


def test_a_mistake_keeps_the_present_configuration_and_is_shown_until_it_is_mended(site):
    """Each kind of mistake, one after the other."""
    for number, (name, text) in enumerate(MISTAKES.items(), start=1):
        assert site.reload(text(site), REFUSED)["problems"] == 1, name
        assert len(site.daemon.entries(REFUSED)) == number
        assert site.daemon.metric("config_reload_success") == 0, name
        assert json.loads(site.daemon.get("/status").body)["config"]["problems"], name
    two = site.text(A | {"lifetime": "1 parsec", "refresh_at": "700%"})
    entry = site.reload(two, REFUSED)
    assert entry["problems"] == 2, "all mistakes at once"
    assert "lifetime" in entry["message"]
    assert "refresh_at" in entry["message"]
    site.reload(site.text(A))
    assert site.daemon.metric("config_reload_success") == 1
    assert json.loads(site.daemon.get("/status").body)["config"]["problems"] == []
    assert len(site.daemon.entries("TokenMinted")) == 1
    assert site.daemon.entries("TokenRemoved") == []


def test_a_file_that_vanishes_keeps_the_present_configuration_and_is_reported_once(site):
    os.unlink(site.path)
    assert "No such file" in site.daemon.wait_for(REFUSED)["message"]
    site.put(site.text(A, B))
    site.daemon.wait_for(RELOADED)
    assert site.has("token-b")
    assert len(site.daemon.entries(REFUSED)) == 1


def test_settings_that_need_a_restart_are_named(site):
    entry = site.reload(site.text(A, B, listen=":0", serve={"address": f"unix:{site.place}/s"}))
    assert entry["needs_restart"] == "serve", "the flag --listen beats the file"
    assert entry["level"] == "WARNING"
    assert site.has("token-b")


def test_a_storm_of_signals_is_answered(site):
    for _ in range(200):
        site.sighup()
    entry = site.reload(site.text(A, B))
    eventually(lambda: site.token("token-b"), "b is minted")
    assert entry["event"] == RELOADED
    assert len(site.daemon.entries("TokenMinted")) == 2


def test_without_a_file_sighup_changes_nothing(place, issuer):
    flags = ("--key-file", place / "key", "--to-file", place / "token", "--issuer-url", issuer.url)
    with Daemon(*flags, endpoints=True) as daemon:
        daemon.wait_for("OutputWritten")
        daemon.send(signal.SIGHUP)
        assert "--config" in daemon.wait_for("RequestIgnored")["message"]
        eventually(lambda: _is_served(daemon), "the endpoints answer")
        assert "config_reload_success" not in daemon.get("/metrics").body
        assert json.loads(daemon.get("/status").body)["config"] is None


# Tokens and outputs that go


def test_a_token_that_goes_takes_its_series_along_and_its_file_stays_by_default(site):
    site.reload(site.text(A, B))
    site.has("token-b")
    site.reload(site.text(B))
    eventually(lambda: 'token="a"' not in site.daemon.get("/metrics").body, "its series are gone")
    assert site.token("token-a")


def test_another_process_may_write_a_file_that_is_no_longer_configured(site):
    site.reload(site.text(B))
    site.has("token-b")
    flags = ("--key-file", site.place / "key", "--issuer-url", site.issuer.url, "--lifetime", "20m")
    with Daemon(*flags, "--to-file", site.place / "token-a") as other:
        other.wait_for("OutputWritten")


def test_what_we_wrote_is_deleted_where_that_is_wanted(site):
    deleted = {"name": "a", "outputs": [{"file": "token-a", "on_remove": "delete"}]}
    site.reload(site.text(deleted, B))
    site.has("token-b")
    assert len(site.daemon.entries("TokenMinted", token="a")) == 1, "another option is no reason to mint"
    site.reload(site.text(B))
    site.daemon.wait_for("OutputDeleted", token="a")
    assert [path.name for path in site.place.iterdir() if "token-a" in path.name] == []


def test_what_another_program_wrote_is_not_deleted(site):
    deleted = {"name": "a", "outputs": [{"file": "token-a", "on_remove": "delete"}]}
    site.reload(site.text(deleted, B))
    (site.place / "token-a").write_text("theirs")
    site.reload(site.text(B))
    site.daemon.wait_for("OutputNotDeleted", token="a")
    assert site.token("token-a") == "theirs"


def test_a_token_that_is_renamed_is_adopted_from_its_output(site):
    before = site.token("token-a")
    site.reload(site.text(token("renamed", "token-a")))
    site.daemon.wait_for("TokenAdopted", token="renamed")
    assert site.token("token-a") == before
    assert len(site.daemon.entries("TokenMinted")) == 1


def test_an_output_that_a_token_of_another_lifetime_takes_over_always_holds_a_valid_token(site):
    before = site.token("token-a")
    site.reload(site.text(A | {"name": "taker", "lifetime": "30m"}))

    def after() -> str:
        found = site.token("token-a")
        assert site.issuer.valid(found)
        return found if found != before else ""

    eventually(after, "the taker's token is published")
    assert site.daemon.entries("TokenMinted", token="taker")


# Many reloads


def test_a_hundred_reloads_leave_no_descriptor_or_thread_behind(site):
    process = Path(f"/proc/{site.daemon.process.pid}")

    def used() -> tuple[int, int]:
        return len(list((process / "fd").iterdir())), len(list((process / "task").iterdir()))

    def cycle(times: int) -> None:
        for _ in range(times):
            site.reload(site.text(A, B))
            site.reload(site.text(A))

    cycle(5)
    before = used()
    cycle(50)
    after = used()
    assert after[0] <= before[0] + 2
    assert after[1] <= before[1] + 2
    assert len(site.daemon.entries("TokenMinted", token="a")) == 1
