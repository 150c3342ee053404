"""Names are resolved in time or not at all. The name servers are real: they answer, are slow, fail or are
silent."""

import logging
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from refresher.clock import SystemClock
from refresher.core.model import Declined, Granted, MintResult, Outcome
from refresher.errors import KubeUnreachableError
from refresher.http.resolver import Resolver
from refresher.issuer.client import InliveIssuer
from refresher.kube.paths import secret_path
from tests.commands.daemon import eventually
from tests.issuer.ask import KEY
from tests.issuer.peer import GRANT, Caller, Peer, peer
from tests.kube.connecting import TOKEN, by_kubeconfig, kubeconfig
from tests.resolving import NAME, Mood, NameServer, isolated, look_ups

BUDGET = 0.5  # seconds; the resolver itself waits for a second for each name server
UNANSWERED = f"the name {NAME} could not be resolved within 0.5 s: the resolver does not answer"


def hanging_up(caller: Caller) -> None:
    """Grants a token and closes the connection. So the next request resolves the name again."""
    caller.request()
    caller.answer(200, GRANT, "Connection: close")


def mint(issuer: InliveIssuer, budget: float = BUDGET) -> MintResult:
    began = time.monotonic()
    result = issuer.mint(KEY, 60.0, budget)
    assert time.monotonic() - began < budget + 5.0  # an unlimited look-up takes longer
    return result


def client(server: Peer, host: str = NAME) -> InliveIssuer:
    return InliveIssuer(f"http://{host}:{server.port}", SystemClock())


def until_it_has_answered() -> None:
    eventually(lambda: look_ups() == 0, "the look-up ends")


class Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        logging.getLogger("refresher").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


# --- Each of these runs in a separate process


def a_resolver_that_hangs() -> None:
    first, second = NameServer("127.0.0.1"), NameServer("127.0.0.2")
    first.mood = second.mood = Mood.SILENT
    with peer(hanging_up) as server:
        issuer = client(server)
        for _ in range(3):
            result = mint(issuer, 0.2)
            assert isinstance(result.answer, Declined)
            assert [each.outcome for each in result.tries] == [Outcome.TIMEOUT]
            problem = r"could not be resolved within (\S+) s: the resolver does not answer \(see /etc/resolv"
            found = re.search(problem, result.answer.message)
            assert found, result.answer
            assert 0.0 < float(found[1]) <= 0.2  # what was left when the look-up began
            assert look_ups() == 1, "they do not pile up"


def a_resolver_that_stops_answering() -> None:
    first, second = NameServer("127.0.0.1"), NameServer("127.0.0.2")
    heard = Heard()
    with peer(hanging_up) as server:
        issuer = client(server)
        for _ in range(2):
            first.mood = second.mood = Mood.ANSWERS
            until_it_has_answered()
            assert isinstance(mint(issuer).answer, Granted)
            for mood in (Mood.SILENT, Mood.FAILS):
                first.mood = second.mood = mood
                until_it_has_answered()
                for _ in range(2):
                    assert isinstance(mint(issuer).answer, Granted), "the last good address is used"
    told = "; its last known addresses are in use"
    assert [line.endswith(told) for line in heard.lines] == [True, True], heard.lines
    assert all("the resolver does not answer" in line for line in heard.lines)


def a_resolver_that_is_slow() -> None:
    """The first of two name servers is silent. So an answer takes a second, longer than an attempt has."""
    dead, _ = NameServer("127.0.0.1"), NameServer("127.0.0.2")
    dead.mood = Mood.SILENT
    with peer(hanging_up) as server:
        issuer = client(server)
        late = mint(issuer).answer
        assert isinstance(late, Declined)
        assert late.message.startswith(UNANSWERED)
        until_it_has_answered()
        for _ in range(3):
            assert isinstance(mint(issuer).answer, Granted), "the answer that came late is used"


def name_servers_that_fail() -> None:
    first, second = NameServer("127.0.0.1"), NameServer("127.0.0.2")
    first.mood = second.mood = Mood.FAILS
    with peer(hanging_up) as server:
        answer = mint(client(server), 5.0).answer
        assert isinstance(answer, Declined)
        assert "; the resolver does not answer (see /etc/resolv.conf)" in answer.message, answer


def a_name_that_goes_away() -> None:
    first, second = NameServer("127.0.0.1"), NameServer("127.0.0.2")
    with peer(hanging_up) as server:
        issuer = client(server)
        assert isinstance(mint(issuer, 5.0).answer, Granted)
        first.mood = second.mood = Mood.KNOWS_NONE
        answer = mint(issuer, 5.0).answer
        assert isinstance(answer, Declined), "the name servers have answered: there is no such host any more"
        assert f"the name of {NAME}" in answer.message


def no_thread_to_be_had() -> None:
    NameServer("127.0.0.1")
    resolver, heard = Resolver(), Heard()
    assert resolver.addresses(NAME, 5.0) == ["127.0.0.1"]
    threading.stack_size(1 << 46)  # more than the address space
    assert resolver.addresses(NAME, 5.0) == ["127.0.0.1"]
    with pytest.raises(OSError, match=r"thread to resolve another\.test"):
        resolver.addresses("another.test", 5.0)
    assert len(heard.lines) == 1
    for address in ("127.0.0.1", "::1"):
        assert resolver.addresses(address, 5.0) == [address], "needs no thread"
    assert "127.0.0.1" in resolver.addresses("localhost", 5.0)


def an_api_server_whose_name_is_not_resolved() -> None:
    first, second = NameServer("127.0.0.1"), NameServer("127.0.0.2")
    first.mood = second.mood = Mood.SILENT
    os.environ.pop("HTTPS_PROXY", None)
    with TemporaryDirectory() as place:
        api = by_kubeconfig(kubeconfig(Path(place), f"http://{NAME}:1", token=TOKEN))
        with pytest.raises(KubeUnreachableError, match=UNANSWERED):
            api.get(secret_path("ns", "s"), timeout=BUDGET)


@pytest.mark.parametrize(
    "scenario",
    [
        a_resolver_that_hangs,
        a_resolver_that_stops_answering,
        a_resolver_that_is_slow,
        name_servers_that_fail,
        a_name_that_goes_away,
        no_thread_to_be_had,
        an_api_server_whose_name_is_not_resolved,
    ],
    ids=lambda scenario: scenario.__name__.replace("_", " "),
)
def test_a_name_is_resolved_in_time_or_the_message_names_the_resolver(scenario: Callable[[], None]) -> None:
    isolated(f"{__name__}:{scenario.__name__}")
