"""The output in memory: the contract, and waiting for the next token."""

import threading
from concurrent.futures import Future

import pytest

from refresher.core.model import Holding, Token
from refresher.outputs.memory import MemoryOutput
from tests.outputs.contract import PublishingContract
from tests.outputs.tokens import NOW, SEALER, a_token

DEADLINE = 10.0


class Memory:
    def __init__(self, *, includes_refresh_token: bool) -> None:
        self._output = MemoryOutput("studio", includes_refresh_token=includes_refresh_token)

    def output(self) -> MemoryOutput:
        return self._output

    def content(self) -> bytes | None:
        token = self._output.token
        if token is None:
            return None
        refresh = token.refresh_token.reveal() if token.refresh_token else ""
        return f"{token.access.reveal()} {refresh}".encode()


@pytest.fixture(params=[False, True], ids=["without refresh token", "with refresh token"])
def place(request: pytest.FixtureRequest) -> Memory:
    return Memory(includes_refresh_token=request.param)


class TestMemoryOutput(PublishingContract):
    pass


def value(token: Token) -> str:
    return token.access.reveal()


@pytest.fixture
def output() -> MemoryOutput:
    return MemoryOutput("studio")


def write(output: MemoryOutput, number: int) -> str:
    output.write(a_token(number), NOW, SEALER)
    return a_token(number).facts.fingerprint


def test_a_new_output_is_empty(output: MemoryOutput) -> None:
    assert (output.name, output.token, output.inspect(NOW)) == ("serve:studio", None, Holding())


def test_a_client_that_waits_for_the_first_token_gets_it(output: MemoryOutput) -> None:
    future = output.successor("", value)
    assert not future.done()
    write(output, 1)
    assert future.result(DEADLINE).startswith("acc3ss-1")


def test_a_client_that_waits_gets_another_token_not_the_same_written_again(output: MemoryOutput) -> None:
    known = write(output, 1)
    futures = [output.successor(known, value) for _ in range(3)]
    write(output, 1)
    assert not any(future.done() for future in futures)
    write(output, 2)
    assert {future.result(DEADLINE)[:8] for future in futures} == {"acc3ss-2"}


def test_a_client_with_an_older_token_gets_the_current_one_at_once(output: MemoryOutput) -> None:
    known = write(output, 1)
    write(output, 2)
    assert output.successor(known, value).done()


def test_a_cancelled_wait_is_forgotten(output: MemoryOutput) -> None:
    """Otherwise a client that connects, asks and leaves in a loop would fill the memory."""
    asked: list[Token] = []
    future: Future[None] = output.successor("", asked.append)
    assert future.cancel()
    assert not output._waiting
    write(output, 1)
    assert not asked


def test_a_client_that_asks_during_a_write_gets_the_token_that_is_written(output: MemoryOutput) -> None:
    for number in range(2, 200):
        known = write(output, number - 1)
        writer = threading.Thread(target=write, args=(output, number))
        writer.start()
        future = output.successor(known, value)
        writer.join(DEADLINE)
        assert future.result(0).startswith(f"acc3ss-{number}-")
