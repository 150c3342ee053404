"""`refresher run` and a configuration file that changes while it runs."""

import json
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from refresher.emulator.server import Emulator
from tests.commands.daemon import KEY, Daemon, eventually
from tests.commands.test_run_serves import ask
from tests.issuer.peer import Peer, peer, silent

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
def issuer() -> Iterator[Emulator]:
    with Emulator(keys=[KEY, f"{KEY}-of-another-token"]) as inlive:
        yield inlive


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
    written = len(site.daemon.entries("OutputWritten", token="a"))
    site.daemon.send(signal.SIGUSR1)
    # From now on, the output is not inspected for half a minute. An inspection would put it right.
    site.daemon.wait_for("OutputWritten", token="a", times=written + 1)
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


class Consumer:
    """Reads files without a pause, as `valid` demands. A context manager: fails at the end, if it ever saw
    a file that was gone or held no valid token."""

    def __init__(self, valid: Callable[[str], bool], *files: Path) -> None:
        self._valid, self._files = valid, files
        self._over = threading.Event()
        self._wrong: list[str] = []
        self.seen: dict[str, list[str]] = {path.name: [] for path in files}  # each value once, by file
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        assert self._wrong == []

    def _read(self) -> None:
        while not self._over.is_set():
            for path in self._files:
                try:
                    found = path.read_text()
                except FileNotFoundError:
                    found = "nothing"
                if not self._valid(found):
                    self._wrong.append(f"{path.name}: {found}")
                if found not in self.seen[path.name][-1:]:
                    self.seen[path.name].append(found)


@pytest.mark.parametrize(
    "more",
    [{"lifetime": "30m"}, {"key_file": "other-key"}],
    ids=["another lifetime", "another key"],
)
@pytest.mark.parametrize("is_present", [True, False], ids=["of a token in use", "of a token that comes"])
def test_an_output_that_another_token_takes_over_always_holds_a_valid_token(site, more, is_present):
    (site.place / "other-key").write_text(site.issuer.keys[1].reveal())
    if is_present:
        site.reload(site.text(A, token("taker", "token-b", **more)))
        site.has("token-b")
    with Consumer(site.issuer.valid, site.place / "token-a") as consumer:
        site.reload(site.text(token("taker", "token-a", *["token-b"] * is_present, **more)))
        eventually(lambda: len(consumer.seen["token-a"]) > 1, "the taker's token is published")
    first, last = consumer.seen["token-a"]
    assert first != last
    if is_present:
        assert last == site.token("token-b")
    assert len(site.daemon.entries("TokenMinted", token="taker")) == 1


def test_two_tokens_that_swap_their_names_keep_their_outputs(site):
    (site.place / "other-key").write_text(site.issuer.keys[1].reveal())
    other = {"key_file": "other-key"}
    site.reload(site.text(A, B | other))
    site.has("token-b")
    files = site.place / "token-a", site.place / "token-b"
    with Consumer(site.issuer.valid, *files) as consumer:
        site.reload(site.text(token("b", "token-a"), token("a", "token-b", **other)))
        for name in ("a", "b"):
            site.daemon.wait_for("TokenAdopted", token=name)
    assert [len(values) for values in consumer.seen.values()] == [1, 1]
    assert len(site.daemon.entries("TokenMinted")) == 2


# What is under way


@pytest.fixture
def hanging() -> Iterator[Peer]:
    """An issuer that accepts connections and never answers."""
    with peer(silent) as serving:
        yield serving


def two_issuers(site: Site, hanging: Peer, *tokens: dict[str, Any], **issuers: Any) -> str:
    known = {"good": {"url": site.issuer.url}, "slow": {"url": hanging.url, "timeout": "60s"}}
    filled = [{"key_file": "key", "issuer": "good"} | token for token in tokens]
    return json.dumps({"issuers": known | issuers, "tokens": filled})


def test_a_token_and_its_issuer_go_while_the_issuer_hangs(site, hanging):
    site.reload(two_issuers(site, hanging, A, B | {"issuer": "slow"}))
    eventually(lambda: hanging.connections, "a mint is under way")
    text = json.dumps({"issuers": {"good": {"url": site.issuer.url}}, "tokens": [A | {"key_file": "key"}]})
    applied = site.reload(text)
    assert applied["removed"] == 1
    eventually(lambda: 'token="b"' not in site.daemon.get("/metrics").body, "its series are gone")
    assert site.daemon.get("/readyz").status == 200
    site.sighup()
    site.daemon.wait_for(RELOADED, times=3)
    assert not (site.place / "token-b").exists()
    assert len(site.daemon.entries("TokenMinted", token="a")) == 1
    assert site.daemon.end() == 0, "the mint that still hangs does not delay the end"


def test_a_token_is_minted_at_its_new_issuer_while_the_former_one_hangs(site, hanging):
    site.reload(two_issuers(site, hanging, A, B | {"issuer": "slow"}))
    eventually(lambda: hanging.connections, "a mint is under way")
    site.reload(two_issuers(site, hanging, A, B))
    assert site.issuer.valid(site.has("token-b"))
    assert not hanging.over.is_set()
    assert site.daemon.entries("RefreshFailed", token="b") == []


# The listener


def test_the_listener_serves_the_tokens_of_the_present_configuration(place, issuer):
    site = Site(place, issuer)
    with tempfile.TemporaryDirectory() as folder:  # its path is short enough for a socket
        socket = Path(folder) / "socket"
        serve = {"serve": {"address": f"unix:{socket}"}}
        site.put(site.text(A, **serve))
        with Daemon("--config", site.path) as site.daemon:
            site.daemon.wait_for("OutputWritten", output="serve:a")
            before = ask(socket, "GET /token/a")
            assert ask(socket, "GET /token/b")[0] == 404
            site.reload(site.text(A, B, **serve))
            site.daemon.wait_for("OutputWritten", output="serve:b")
            served = json.loads(ask(socket, "GET /token/b")[1])["access_token"]
            assert served == site.has("token-b")
            assert ask(socket, "GET /token/a")[0] == before[0] == 200
            site.reload(site.text(B, **serve))
            eventually(lambda: ask(socket, "GET /token/a")[0] == 404, "the token that went is not served")
            assert len(site.daemon.entries("TokenMinted", token="b")) == 1


# Many reloads


def test_a_hundred_reloads_leave_no_descriptor_thread_or_memory_behind(site):
    process = Path(f"/proc/{site.daemon.process.pid}")

    def used() -> tuple[int, int]:
        return len(list((process / "fd").iterdir())), len(list((process / "task").iterdir()))

    def memory() -> int:
        (line,) = (each for each in (process / "status").read_text().splitlines() if each.startswith("VmRSS"))
        return int(line.split()[1])  # KiB

    def cycle(times: int) -> None:
        for _ in range(times):
            site.reload(site.text(A, B))
            site.reload(site.text(A))

    cycle(5)
    before, memory_before = used(), memory()
    cycle(50)
    after = used()
    assert memory() <= memory_before + 50 * 100  # less than 50 KiB for each reload
    assert after[0] <= before[0] + 2
    assert after[1] <= before[1] + 2
    assert len(site.daemon.entries("TokenMinted", token="a")) == 1
