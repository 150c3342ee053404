"""Proves that the bad wire spoils responses, as seen from a plain socket."""

import random
import socket
import threading
from collections.abc import Iterator

import pytest

from refresher.core.model import Granted, Outcome
from refresher.emulator.server import Emulator
from tests.chaos.proxy import FAULTS, Proxy
from tests.issuer.ask import KEY, mint, outcomes

BUDGET = 1.0  # seconds, the time-out of the client
SEEDS = range(5)
QUICK, DAWDLING = 31, 2  # seeds of a slow answer in a tenth of a second, and in one of several


class Wire:
    """A proxy before an emulator; `asked`: the number of requests."""

    def __init__(self, inlive: Emulator, seed: int = 0) -> None:
        self.asked = 0
        self.lag = 0.0  # seconds until the proxy sees a request
        self.inlive = inlive
        self.proxy = Proxy(inlive.port, random.Random(seed), self._count)

    def _count(self) -> None:
        threading.Event().wait(self.lag)
        self.asked += 1

    def mint(self):
        return mint(self.proxy.url, BUDGET)

    def connected(self) -> socket.socket:
        """A connection that has sent a request."""
        body = b'{"expiry_seconds": 60}'
        head = f"POST /v1/keys/accesstoken HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        head += f"Content-Type: application/json\r\nAuthorization: Bearer {KEY.reveal()}\r\n\r\n"
        port = int(self.proxy.url.rpartition(":")[2])
        sock = socket.create_connection(("127.0.0.1", port), timeout=BUDGET)
        sock.sendall(head.encode() + body)
        return sock

    def pieces(self) -> list[bytes]:
        """The bytes returned for a request until the connection ends. ConnectionResetError after RST."""
        with self.connected() as sock:
            return list(iter(lambda: sock.recv(65536), b""))

    def received(self) -> bytes:
        return b"".join(self.pieces())


@pytest.fixture
def inlive() -> Iterator[Emulator]:
    with Emulator(keys=[KEY]) as running:
        yield running


@pytest.fixture
def wire(inlive) -> Iterator[Wire]:
    made = Wire(inlive)
    yield made
    made.proxy.close()


def told_of_an_answer(wire: Wire, within: float) -> bool:
    """Whether the proxy reports an unspoiled response within this time, during a series of mints."""
    results: list[bool] = []
    waiting = threading.Thread(target=lambda: results.append(wire.proxy.await_answer(within)))
    waiting.start()
    while not results:
        wire.mint()
        waiting.join(0.01)
    return results[0]


def test_without_a_fault_every_response_comes_through_and_is_reported(wire, inlive):
    assert isinstance(wire.mint().answer, Granted)
    assert told_of_an_answer(wire, within=10.0)
    assert wire.asked == inlive.counts.issued
    assert wire.proxy.met.total() == 0


def test_a_spoiled_response_is_not_reported(wire):
    wire.proxy.fault = "500"
    assert not told_of_an_answer(wire, within=0.3)


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("close", Outcome.UNREACHABLE),
        ("reset", Outcome.UNREACHABLE),
        ("hang", Outcome.TIMEOUT),
        ("cut", Outcome.UNREACHABLE),
        ("garbage", None),
        ("500", Outcome.SERVER_ERROR),
        ("401", Outcome.KEY_REFUSED),
        ("429", Outcome.THROTTLED),
        ("503", Outcome.THROTTLED),
    ],
)
def test_the_client_reports_the_right_outcome_for_each_fault(wire, fault, outcome):
    wire.proxy.fault = fault
    result = wire.mint()
    assert not isinstance(result.answer, Granted)
    assert outcome is None or outcomes(result)[-1] is outcome
    assert wire.proxy.met[fault] == len(result.tries) == wire.asked
    wire.proxy.fault = None
    assert isinstance(wire.mint().answer, Granted), "it is over with the fault"


@pytest.mark.parametrize("fault", [None, "hang", "slow"])
def test_it_can_finish_the_requests_of_a_client_that_has_ended(wire, fault):
    wire.proxy.fault, wire.lag = fault, 0.1
    wire.connected().close()
    wire.proxy.finish()
    assert wire.asked == 1


def test_close_sends_nothing(wire):
    wire.proxy.fault = "close"
    assert wire.received() == b""


def test_reset_sends_rst(wire):
    wire.proxy.fault = "reset"
    with pytest.raises(ConnectionResetError):
        wire.received()


def test_hang_never_ends_by_itself(wire):
    wire.proxy.fault = "hang"
    with pytest.raises(TimeoutError):
        wire.received()


@pytest.mark.parametrize("seed", SEEDS)
def test_cut_ends_within_the_body(inlive, seed):
    wire = Wire(inlive, seed)
    wire.proxy.fault = "cut"
    try:
        head, _, body = wire.received().partition(b"\r\n\r\n")
    finally:
        wire.proxy.close()
    (length,) = [int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")]
    assert len(body) < length


def test_slow_sends_the_whole_response_in_small_pieces(inlive):
    quick, dawdling = Wire(inlive, QUICK), Wire(inlive, DAWDLING)
    quick.proxy.fault = dawdling.proxy.fault = "slow"
    try:
        assert isinstance(quick.mint().answer, Granted)
        assert outcomes(dawdling.mint()) == [Outcome.TIMEOUT]
        pieces = quick.pieces()
        assert len(pieces) > 20
        assert b"".join(pieces).endswith(b"}")
    finally:
        quick.proxy.close()
        dawdling.proxy.close()


def test_garbage_is_not_http(wire):
    wire.proxy.fault = "garbage"
    assert not wire.received().startswith(b"HTTP")


def test_all_faults_are_tested():
    assert set(FAULTS) == {"close", "reset", "hang", "cut", "slow", "garbage", "500", "401", "429", "503"}
