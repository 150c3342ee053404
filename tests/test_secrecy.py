"""Keys and tokens appear only in the configured outputs. The whole program meets every fault of the emulator;
then the test searches everything that it wrote for every secret, in all common encodings."""

import base64
import dataclasses
import http.client
import json
import re
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from refresher.config.declarations import (
    SECTIONS,
    LeaderElectionSettings,
    Settings,
    TokenDefaults,
    TokenSettings,
)
from refresher.config.flags import declared_flags
from refresher.config.hooks import ExecHook, HttpHook, PidFileSignal, ProcessSignal, SignalHook
from refresher.config.issuers import IssuerSettings
from refresher.config.json_mint import AnswerSettings, JsonIssuerSettings
from refresher.config.oauth2 import OAuth2IssuerSettings
from refresher.config.options import options_of
from refresher.config.output_kinds import FileOutputSettings, SecretOutputSettings
from refresher.config.serving import ServeSettings
from refresher.emulator.faults import Fault
from refresher.emulator.server import Emulator
from tests.chaos.place import limit_file_size
from tests.commands.calls import caller
from tests.commands.daemon import Daemon, eventually, free_port, refresher, start
from tests.leaks import leaks
from tests.tapped import TOKEN, Wire, tapped

KEY = "Zq1f0/WcT5d9+mN3=x8Hn2XkLm"  # with characters that URLs, JSON and base64 encode differently
REFUSED_KEY = "nobody/knows+this=one8Hn2XkLm"
OUTPUTS = ("token", "bearer", "header", "env", "json", "inlive-sdk", "envoy-sds", "template")
PAGES = ("/", "/metrics", "/livez", "/readyz", "/status", f"/{quote(KEY, safe='')}?key={quote(KEY, safe='')}")
ACCEPTS = ("*/*", "text/html", "application/openmetrics-text")
TEMPLATE = "$access_token $refresh_token\n" + "#" * 5000  # the longest output
ROOM = 2500  # bytes: for a record and the beginning of that value, with the tokens in it

FAULTS: dict[str, dict[str, Any]] = {
    "slow": {"latency": 0.2},
    "throttled": {"status": 429, "retry_after": "1"},
    "garbage": {"garbage": True},
    "redirected": {"redirect": "http://127.0.0.1:1/"},
    "endless, chunked": {"endless": "chunked"},
    "endless, until closed": {"endless": "close"},
    "reset": {"reset": True},
    "hanging": {"hang": True},
    "the same token": {"same_token": True},
    "short-lived": {"lifetime": 11.0},
    "another media type": {"content_type": "text/html"},
    "dripping": {"drip": 0.02, "drip_head": True},
    "cut": {"cut_body": True},
    "another clock": {"clock_offset": -86400.0},
    "a fault of everything, once": {"scope": "all", "count": 1, "status": 502, "body": "Bad gateway"},
}


def echoing(secret: str) -> dict[str, dict[str, Any]]:
    """An issuer or a proxy that repeats a secret in its response."""
    header = base64.b64encode(f"Authorization: Bearer {secret}".encode()).decode()
    granted = {"access_token": f"{secret}\r\nX-Evil: 1", "refresh_token": secret}
    return {
        "in a refusal": {"status": 401, "body": {"message": f"no such key: {secret}"}},
        "in a page": {"status": 500, "body": f"<pre>{secret}</pre>", "content_type": "text/html"},
        "in base64": {"status": 400, "body": {"message": header}},
        "percent-encoded": {"status": 403, "body": {"message": quote(secret, safe="")}},
        "as an error of ours": {"body": {"ok": False, "message": secret, "data": {"access_token": secret}}},
        "in a token that is none": {"body": {"ok": True, "data": granted}},
        "in a number's place": {"body": {"ok": True, "data": {"access_token": [secret]}}},
        "as a location": {"redirect": f"https://elsewhere.test/{secret}?{quote(secret, safe='')}"},
        "as a media type": {"status": 500, "content_type": f"text/{secret}"},
        "as a time to wait": {"status": 429, "retry_after": secret},
    }


@pytest.fixture
def issuer() -> Iterator[Emulator]:
    with Emulator(keys=[KEY]) as inlive:
        yield inlive


@pytest.fixture
def wire(issuer) -> Iterator[Wire]:
    with tapped(issuer.port) as wire:
        yield wire


class Site:
    """One daemon, its directory, and everything that it has written."""

    def __init__(self, path: Path, url: str, log_format: str) -> None:
        self.path, self.written = path, dict[str, bytes]()
        for name in ("out", "tmp", "home"):
            (path / name).mkdir(parents=True)
        self.key = path / "key"
        self.key.write_text(KEY)
        files = [{"file": f"out/{format_}", "format": format_} for format_ in OUTPUTS]
        files[-1]["template"] = TEMPLATE
        outputs = [*files, {"file": "missing/token"}]
        token = {"name": "studio", "key_file": "key", "lifetime": 60, "outputs": outputs}
        config = path / "refresher.yaml"
        config.write_text(json.dumps({"issuer": {"url": url, "timeout": "1s"}, "tokens": [token]}))
        words = ("--config", config, "--log-level", "debug", "--log-format", log_format)
        environ = {"TMPDIR": str(path / "tmp"), "HOME": str(path / "home")}
        self.daemon = Daemon(*words, endpoints=True, **environ)

    @property
    def outputs(self) -> dict[str, bytes]:
        return {format_: (self.path / "out" / format_).read_bytes() for format_ in OUTPUTS}

    def count(self, metric: str) -> float:
        """The sum of all samples of the metrics with this prefix."""
        lines = self.daemon.get("/metrics").body.splitlines()
        return sum(
            float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"token_refresher_{metric}")
        )

    def mint(self, metric: str = "mint_requests_total") -> None:
        """Make it mint now. Returns when `metric` has grown."""
        before = self.count(metric)
        self.daemon.send(signal.SIGUSR1)
        eventually(lambda: self.count(metric) > before, f"more {metric}")

    def look(self, when: str) -> None:
        """Record the responses of the endpoints, at the moment named `when`."""
        for page in PAGES:
            for accept in ACCEPTS:
                answer = self.daemon.get(page, Accept=accept, Authorization=f"Bearer {KEY}")
                self.written[f"{when}: {page} {accept}"] = answer.body.encode()

    def end(self) -> None:
        """End the daemon. Record its log, and every file except outputs and key."""
        process = Path("/proc") / str(self.daemon.process.pid)
        for name in ("cmdline", "environ"):
            try:
                self.written[name] = (process / name).read_bytes()
            except (FileNotFoundError, PermissionError):  # it has ended, or only root may read
                self.written[name] = b""
        assert self.daemon.end() == 0, self.daemon.said
        self.written["log"] = self.daemon.said.encode()
        configured = {self.key, *(self.path / "out" / format_ for format_ in OUTPUTS)}
        for file in self.path.rglob("*"):
            if file.is_file() and file not in configured:
                self.written[str(file)] = file.read_bytes()


@contextmanager
def serving(path: Path, wire: Wire, log_format: str) -> Iterator[Site]:
    """A site with its first token."""
    site = Site(path / log_format, wire.url, log_format)
    with site.daemon:
        eventually(lambda: all(map(bytes.strip, _existing(site))), "the first token")
        site.look("when all is well")
        yield site


@pytest.fixture
def sites(wire, tmp_path) -> Iterator[list[Site]]:
    """Two sites, with text and JSON logs."""
    with serving(tmp_path, wire, "text") as text, serving(tmp_path, wire, "json") as json_:
        yield [text, json_]


@pytest.fixture(params=["text", "json"])
def site(request, wire, tmp_path) -> Iterator[Site]:
    with serving(tmp_path, wire, request.param) as site:
        yield site


def _existing(site: Site) -> list[bytes]:
    files = [site.path / "out" / format_ for format_ in OUTPUTS]
    return [file.read_bytes() if file.exists() else b"" for file in files]


def check(sites: list[Site], wire: Wire) -> None:
    """End them, and search for secrets in vain. Then prove that the search finds a planted secret."""
    for site in sites:
        site.end()
    tokens = wire.tokens  # of all mints: the last one may have run until the end
    secrets = {KEY, REFUSED_KEY, *tokens}
    for site in sites:
        published = site.outputs
        assert leaks(site.written, secrets) == []
        assert {found.partition(":")[0] for found in leaks(published, tokens)} == set(OUTPUTS)
        one = base64.b64encode(f"Bearer {max(tokens)}".encode())
        site.written["log"] += one
        assert leaks(site.written, secrets) != [], "a leak that was planted"


def test_every_fault_of_the_emulator_is_used():
    tried = set().union(*FAULTS.values(), *echoing("").values())
    assert tried == {field.name for field in dataclasses.fields(Fault)}


def test_no_fault_of_the_issuer_leaks_a_secret(sites, wire, issuer):
    for name, fault in (FAULTS | echoing(KEY)).items():
        issuer.faults(**fault)
        for site in sites:
            site.mint()
            site.look(name)
    assert len(wire.tokens) > 10
    check(sites, wire)


@pytest.mark.parametrize("which", ["accessToken", "refreshToken"])
def test_a_token_repeated_in_a_response_is_not_written(site, wire, issuer, which):
    # One site: a daemon hides its own tokens, and cannot know those of another.
    for name, fault in echoing(json.loads(site.outputs["inlive-sdk"])["data"][which]).items():
        issuer.faults(**fault)
        site.mint()
        site.look(name)
    check([site], wire)


BAD_KEYS = {
    f"{KEY}\n{KEY}\n": "a line break",
    f"{KEY}\0": "a NUL",
    f"\ufeff{KEY}": "byte order mark",
    f" {KEY}": "begins with white space",
    f"{KEY} of the studio": "white space (more than the key itself?)",
    KEY * 400: "longer than",
    REFUSED_KEY: "the issuer refuses the key",
}


def test_no_content_of_the_key_file_leaks_a_secret(sites, wire):
    for content, printed in BAD_KEYS.items():
        for site in sites:
            site.key.write_text(content)
        for site in sites:
            eventually(lambda site=site, printed=printed: printed in site.daemon.said, printed)
            site.look(printed)
    for site in sites:
        site.mint()
        site.key.unlink()
        eventually(lambda site=site: "create or mount it" in site.daemon.said, "the file is gone")
        site.look("without a key")
    check(sites, wire)


def test_no_failure_of_the_outputs_leaks_a_secret(sites, wire):
    for site in sites:
        limit_file_size(site.daemon.process, ROOM)
        site.mint('output_writes_total{output="file:' + str(site.path / "out" / "template"))
        site.look("without room")
        limit_file_size(site.daemon.process, None)
        (site.path / "out" / "env").unlink()
        (site.path / "out" / "env").mkdir()
        site.mint('output_writes_total{output="file:' + str(site.path / "out" / "env"))
        site.look("a directory in the place of a file")
        (site.path / "out" / "env").rmdir()
        eventually(lambda site=site: all(_existing(site)), "all is well again")
        assert "EFBIG" in site.daemon.said
        assert "EISDIR" in site.daemon.said
    check(sites, wire)


def test_a_lack_of_descriptors_leaks_no_secret(sites, wire):
    for site in sites:
        process = site.daemon.process
        _, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (3, hard))
        site.daemon.send(signal.SIGUSR1)
        site.daemon.send(signal.SIGHUP)
        eventually(lambda site=site: "Too many open files" in site.daemon.said, "the log line")
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (hard, hard))
        site.mint()
    check(sites, wire)


# The commands


@pytest.fixture
def words(wire, tmp_path) -> tuple[object, ...]:
    """The flags that a command needs to mint."""
    (tmp_path / "key").write_text(KEY)
    return ("--key-file", tmp_path / "key", "--issuer-url", wire.url, "--issuer-timeout", "1s")


def test_no_fault_of_the_issuer_makes_a_command_leak_a_secret(words, wire, issuer, tmp_path):
    file = ("--to-file", tmp_path / "token")
    printed: dict[str, bytes] = {}
    for name, fault in (FAULTS | echoing(KEY)).items():
        issuer.faults(**fault)
        printed[f"once, {name}"] = refresher("once", *words, *file, "--log-level", "debug").said.encode()
    for name, fault in echoing(KEY).items():
        issuer.faults(**fault)
        printed[f"check, {name}"] = refresher("check", *words, *file).said.encode()
        process = start("mint", *words)
        with process:
            out, err = process.communicate(timeout=30)
        assert out == "", "there was no token to print"
        printed[f"mint, {name}"] = err.encode()
    for command in ("status", "wait"):
        printed[command] = refresher(command, *file).said.encode()
    assert leaks(printed, {KEY, *wire.tokens}) == []
    assert all(printed[each] for each in printed if each != "wait")


def test_mint_prints_its_token_and_no_other_secret(words, wire):
    with start("mint", *words, "--format", "inlive-sdk") as process:
        out, err = process.communicate(timeout=30)
    assert set(json.loads(out)["data"].values()) > wire.tokens
    assert leaks({"out": out.encode()}, [KEY]) == []
    assert leaks({"err": err.encode()}, [KEY, *wire.tokens]) == []


MISPLACED = {
    "as a command": (KEY,),
    "after a command": ("once", KEY),
    "as a token's name": ("mint", KEY),
    "by a flag that there is none of": ("run", "--key", KEY),
    "by such a flag, in one word": ("run", f"--key={KEY}"),
    "as its file": (
        "once",
        "--key-file",
        KEY,
        "--to-file",
        "/absent/token",
        "--issuer-url",
        "http://127.0.0.1:1",
    ),
    "as its file, to mint": ("mint", "--key-file", KEY),
    "as its file, to check": ("check", "--offline", "--key-file", KEY, "--to-file", "/absent/token"),
    "as its file, to emulate": ("emulator", "--key-file", KEY),
    "in the issuer's URL": ("mint", "--issuer-url", f"http://user:{KEY}@127.0.0.1:1"),
    "in its query": ("mint", "--issuer-url", f"http://127.0.0.1:1/?key={KEY}"),
}
CONFIGURED = {
    "in place of its file": {"tokens": [{"name": "a", "key": KEY, "outputs": [{"file": "t"}]}]},
    "as its file": {"tokens": [{"name": "a", "key_file": KEY, "outputs": [{"file": "t"}]}]},
    "at the top": {"application_key": KEY},
    "as a token": {"tokens": [KEY]},
    "as the issuer": {"issuer": KEY},
    "at the issuer": {"issuer": {"url": "http://127.0.0.1:1", "key": KEY}},
    "as a whole": KEY,
}


# Secrets as values of every option. A flag that accepts any text as valid may show it: --to-file.

SECRETS = (
    KEY,
    "sk.live.Zq1f0WcT5d9mN3x8Hn2XkLm",
    "NoDigitInThisKeyAtAllButCapitals",
    "Zq1f0WcT5d9/mN3x8Hn2XkLm/a7bDa7==",
    f"https://user:{KEY}@issuer.test/v1",
    f"http://user:{KEY}@127.0.0.1:1",
    f"user:{KEY}@issuer.test",
)
OFFLINE = ("check", "--offline")
ASKS = ("check", "--issuer-timeout=1s")
WAYS_OF = {"--ca-file": ASKS, "--verify-url": OFFLINE}
FLAGGED = [
    str(option.flag) for _, option in declared_flags() if not (option.repeated or option.flag == "--template")
]
OF_COMMANDS = (
    ("status", "--url"),
    ("wait", "--timeout"),
    ("refresh",),
    ("refresh", "--timeout"),
    ("once", "--every"),
    ("once", "--log-format"),
    ("run", "--log-level"),
    ("emulator", "--listen"),
    ("emulator", "--key-file"),
    ("emulator", "--cert"),
    ("emulator", "--key"),
    ("emulator", "--min-lifetime"),
    ("config",),
    ("mint",),
    ("check", "--no-such-flag"),
    ("check", "-x"),
    ("check", "--offline"),
    ("status", "--help"),
    ("--version",),
    (),
)


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # relative paths are searched here
    (tmp_path / "key").write_text("another-key-altogether")
    return caller(capsys)


def parts(secret: str) -> list[str]:
    """The parts that must not be shown: any part of a password in a URL, else over 12 characters."""
    password = re.search(r":(?!//)(.*)@", secret)
    if password:
        secret, longest = password[1], 5
    else:
        longest = 12
    return [secret[start : start + longest + 1] for start in range(len(secret) - longest)]


def check_nothing_is_shown(called, secret):
    assert called.code != 0
    assert [part for part in parts(secret) if part in called.said] == [], called.said


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("flag", FLAGGED)
@pytest.mark.parametrize("by", ["flag", "variable"])
def test_a_secret_as_the_value_of_any_option_is_not_shown(call, monkeypatch, by, flag, secret):
    option = next(option for _, option in declared_flags() if option.flag == flag)
    words = [f"{flag}={secret}"] if by == "flag" else []
    if by == "variable":
        monkeypatch.setenv(option.variable, secret)
    words += [] if flag in ("--key-file", "--config") else ["--key-file=key"]
    words += ["--to-secret=s"] if flag.startswith("--lease") else ["--to-file=token"]
    words += ["--lease=l"] if flag == "--lease-duration" else []
    words += ["--issuer-url=https://127.0.0.1:1"] if flag == "--ca-file" else []
    check_nothing_is_shown(call(*WAYS_OF.get(flag, OFFLINE), *words), secret)


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("words", OF_COMMANDS, ids=" ".join)
def test_a_secret_as_any_argument_is_not_shown(call, words, secret):
    *before, last = ("", *words)
    joined = f"{last}={secret}" if last.startswith("--") else secret
    given = [*before[1:], joined] if last.startswith("--") else [*words, secret]
    needed = {"once": ["--key-file=key", "--to-file=token"], "run": ["--key-file=key", "--to-file=token"]}
    needed |= {
        "mint": ["--key-file=key"],
        "wait": ["--to-file=token"],
        "refresh": ["--to-file=token"],
        "check": ["--key-file=key", "--to-file=token"],
    }
    more = needed.get(words[0] if words else "", [])
    if words == ("emulator", "--key"):
        more = ["--cert=key"]
    check_nothing_is_shown(call(*given, *more), secret)


IN_THE_FILE = {
    f"{section.__name__}.{key}": (section, key)
    for section in SECTIONS
    for key in options_of(section)
    if (section, key) not in {(FileOutputSettings, "file")}
}


def _hooks(section: type, output: dict[str, Any]) -> dict[type, Any]:
    """The node of a hook's section, which is then part of the `output`."""
    signal = {PidFileSignal: {"pid_file": "/p"}, ProcessSignal: {"process": "p"}}
    after = {SignalHook: {"signal": {"process": "p"}}, ExecHook: {"exec": ["true"]}}
    after[HttpHook] = {"http": "http://127.0.0.1:1/"}
    after |= {kind: {"signal": node} for kind, node in signal.items()}
    if section in after:
        output["after"] = after[section]
    return after | signal


def _of_a_kind(section: type, document: dict[str, Any]) -> dict[type, Any]:
    """The node of a section of an issuer in the file, which is then the only one of the document."""
    oauth2 = {"token_url": "https://127.0.0.1:1/token", "client_id": "c"}
    mint = {"mint": "https://127.0.0.1:1/t", "headers": {"x": "$key"}, "answer": {"access_token": "t"}}
    issuers = {OAuth2IssuerSettings: oauth2, JsonIssuerSettings: mint, AnswerSettings: mint}
    if section in issuers:
        del document["issuer"]
        document["issuers"] = {"i": issuers[section]}
    return issuers | {AnswerSettings: mint["answer"]}


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("where", IN_THE_FILE)
@pytest.mark.parametrize("as_a_key", [False, True], ids=["as value", "as key"])
def test_a_secret_anywhere_in_the_configuration_is_not_shown(call, tmp_path, where, secret, as_a_key):
    section, key = IN_THE_FILE[where]
    secret_output = section in (SecretOutputSettings, LeaderElectionSettings)
    document: dict[str, Any] = {
        "issuer": {"url": "https://127.0.0.1:1"},
        "tokens": [
            {"name": "t", "key_file": "key", "outputs": [{"secret": "s"} if secret_output else {"file": "f"}]}
        ],
    }
    if section is TokenDefaults:
        del document["tokens"][0]["key_file"]  # the default is used
        document["defaults"] = {"key_file": "key"}
    node: Any = {
        Settings: document,
        IssuerSettings: document["issuer"],
        **_of_a_kind(section, document),
        TokenSettings: document["tokens"][0],
        FileOutputSettings: document["tokens"][0]["outputs"][0],
        SecretOutputSettings: document["tokens"][0]["outputs"][0],
        LeaderElectionSettings: document.setdefault("leader_election", {"lease": "l"})
        if secret_output
        else {},
        ServeSettings: document.setdefault("serve", {"address": "unix:/s"})
        if section is ServeSettings
        else {},
        TokenDefaults: document.get("defaults"),
        **_hooks(section, document["tokens"][0]["outputs"][0]),
    }[section]
    if as_a_key:
        node[secret] = "x"
    else:
        node[key] = secret
    (tmp_path / "refresher.json").write_text(json.dumps(document))
    way = ASKS if key == "ca_file" and not as_a_key else OFFLINE
    called = call(*way, "--config", "refresher.json")
    if (key == "client_id" or section is AnswerSettings) and not as_a_key:  # any text may be one
        called = called._replace(code=78)
    check_nothing_is_shown(called, secret)


@pytest.mark.parametrize("where", MISPLACED)
def test_a_key_on_the_command_line_by_mistake_is_not_repeated(where, tmp_path):
    (tmp_path / "key").write_text(KEY)
    key_file = {"REFRESHER_KEY_FILE": str(tmp_path / "key")}
    ended = refresher(*MISPLACED[where], **({} if "file" in where else key_file))
    assert ended.code != 0
    assert leaks({"said": ended.said.encode()}, [KEY]) == []


@pytest.mark.parametrize("where", CONFIGURED)
def test_a_key_in_the_configuration_by_mistake_is_not_repeated(where, tmp_path):
    config = tmp_path / "refresher.yaml"
    config.write_text(json.dumps(CONFIGURED[where]))
    ended = refresher("once", "--config", config)
    assert ended.code == 78
    assert leaks({"said": ended.said.encode()}, [KEY]) == []


@pytest.mark.parametrize("variable", ["REFRESHER_KEY", "REFRESHER_APPLICATION_KEY", "REFRESHER_KEY_FILE"])
def test_a_key_in_the_environment_by_mistake_is_not_repeated(variable, tmp_path):
    ended = refresher("once", "--to-file", tmp_path / "token", **{variable: KEY})
    assert ended.code == 78
    assert leaks({"said": ended.said.encode()}, [KEY]) == []


def test_the_emulator_prints_no_given_secret(tmp_path):
    (tmp_path / "key").write_text(KEY)
    port, printed, tokens = free_port(), dict[str, bytes](), set[str]()
    process = start("emulator", "--key-file", tmp_path / "key", "--listen", f"127.0.0.1:{port}")
    with process:
        try:
            printed["welcome"] = process.stdout.readline().encode()
            for bearer in (KEY, REFUSED_KEY):
                answer = asked(port, "/v1/keys/accesstoken", bearer)
                tokens |= {found.decode() for found in TOKEN.findall(answer)}
            for token in sorted(tokens):
                printed[f"room by {token}"] = asked(port, "/v1/rooms/create", token)
                printed[f"state by {token}"] = asked(port, "/_emulator/state", token, "GET")
        finally:
            process.terminate()
            out, err = process.communicate(timeout=30)
    printed |= {"out": out.encode(), "err": err.encode()}
    assert len(tokens) == 2
    assert "401" in err, "it logs"
    assert leaks(printed, {KEY, REFUSED_KEY, *tokens}) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there is no prlimit")
@pytest.mark.parametrize(
    "words",
    [
        ("emulator", "--listen=127.0.0.1:0", "--write-key={place}/key"),
        ("run", "--key-file={place}/none-yet", "--to-file={place}/token"),
        ("wait", "--to-file={place}/token"),
    ],
    ids=lambda words: words[0],
)
def test_no_command_dumps_core(tmp_path, words):
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if hard == 0:
        pytest.skip("nobody dumps core here (ulimit -Hc is 0)")
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        process = start(*(word.format(place=tmp_path) for word in words))
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
    try:
        forbidden = partial(resource.prlimit, process.pid, resource.RLIMIT_CORE)
        eventually(lambda: forbidden() == (0, 0), f"no core dumps of refresher {words[0]}")
    finally:
        process.terminate()
        process.communicate(timeout=30)


def asked(port: int, path: str, bearer: str, method: str = "POST") -> bytes:
    """The body of a response of the emulator."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        body = None if method == "GET" else "{}"
        connection.request(method, path, body, {"Authorization": f"Bearer {bearer}"})
        return connection.getresponse().read()
    finally:
        connection.close()
