"""Never two writers: two daemons, each with its own faulty connection to the real API server.

Afterwards the test reads the API server's history of the Secret and of the Lease.
"""

import json
import os
import random
import signal
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from refresher.emulator.server import Emulator
from refresher.outputs.secret_body import PREFIX
from tests.commands.daemon import Daemon, eventually
from tests.kube.cluster import Cluster
from tests.kube.installation import NAME, Installation
from tests.proxy import HEAVY, HOST, Proxy, Trouble

DURATION = 3  # seconds that a Lease lasts
ROUNDS = int(os.environ.get("ROUNDS", "6"))  # set it for a longer run
SHORTEST, LONGEST = DURATION + 0.0, DURATION + 1.5  # seconds of a fault in a round
TROUBLES = [  # the first fault and the next
    (Trouble.HEAVY, Trouble.HANG),  # a delayed write arrives when another process leads
    (Trouble.SLOW, Trouble.SLOW),
    (Trouble.DEAF, Trouble.DEAF),
    (Trouble.RESET, Trouble.RESET),
]
TICK = 0.1  # seconds between two requests to mint
SEED = int(os.environ.get("SEED", "20261125"))

Revision = int  # of etcd: one count for all objects


@pytest.fixture
def installed(cluster: Cluster, namespace: str, issuer: Emulator, tmp_path: Path) -> Iterator[Installation]:
    with Installation(cluster, namespace, issuer, tmp_path, lease=DURATION, lifetime="60s") as installation:
        by_weight = (
            f"propagation_delay: 0s, data: {{{NAME}: token, heavy: template}}, "
            f"template: $access_token-{'x' * 2 * HEAVY}"
        )
        installation.config.write_text(
            installation.config.read_text().replace("propagation_delay: 0s", by_weight)
        )
        yield installation


def start(installation: Installation, proxy: Proxy) -> Daemon:
    """A daemon whose requests go through this proxy."""
    kubeconfig = installation.account.directory / f"by-{proxy.port}"
    url = f"https://{HOST}:{proxy.port}"
    account = installation.account
    installation.cluster.credentials.kubeconfig(
        kubeconfig, url, namespace=account.namespace, token=account.token
    )
    return installation.start(KUBECONFIG=str(kubeconfig))


def history(cluster: Cluster, path: str, since: str) -> Iterator[tuple[Revision, Any]]:
    """Every later state of an object, oldest first, as a watch would have seen it."""
    collection, _, name = path.rpartition("/")
    query = f"watch=true&resourceVersion={since}&timeoutSeconds=1&fieldSelector=metadata.name={name}"
    for line in cluster.ask("GET", f"{collection}?{query}").text.splitlines():
        event = json.loads(line)
        assert event["type"] == "MODIFIED", event
        yield int(event["object"]["metadata"]["resourceVersion"]), event["object"]


def terms(cluster: Cluster, path: str, since: str) -> list[tuple[Revision, str]]:
    """The holders of the Lease in order, each with its first revision."""
    held: list[tuple[Revision, str]] = []
    for revision, lease in history(cluster, path, since):
        holder = lease["spec"].get("holderIdentity", "")
        if not held or held[-1][1] != holder:
            held.append((revision, holder))
    return held


def out_of_turn(writes: list[tuple[Revision, str]], held: list[tuple[Revision, str]]) -> list[Revision]:
    """The writes that fall into no term of their writer, when no writer may go back to a term that is over:
    one is over when another's has begun *and* that other has written."""
    wrong, turn = [], 0
    for revision, writer in writes:
        own = [at for at in range(turn, len(held)) if held[at][1] == writer and held[at][0] <= revision]
        if own:
            turn = own[0]
        else:
            wrong.append(revision)
    return wrong


def test_a_write_out_of_turn_is_detected():
    held = [(10, "a"), (20, "b"), (30, "a")]
    assert out_of_turn([(11, "a"), (21, "b"), (31, "a")], held) == []
    assert out_of_turn([(11, "a"), (21, "a"), (22, "b")], held) == []  # before the new leader's first
    assert out_of_turn([(11, "a"), (21, "b"), (22, "a"), (23, "b")], held) == [22]
    assert out_of_turn([(11, "b")], held) == [11]


def make_trouble(chance: random.Random, installation: Installation, ways: dict[Daemon, Proxy]) -> None:
    """Rounds of faults on the leader's connection, sometimes on both, while the leader mints continuously."""
    for number in range(ROUNDS):
        leader = eventually(lambda: next(leading(installation, ways), None), "one of them leads")
        troubles = {leader: TROUBLES[number % len(TROUBLES)]}
        if chance.random() < 0.25:
            troubles |= {each: chance.choice(TROUBLES) for each in ways if each is not leader}
        for at, seconds in enumerate((0.5, chance.uniform(SHORTEST, LONGEST))):
            for daemon, trouble in troubles.items():
                ways[daemon].set(trouble[at])
            go_on(seconds, installation, ways)
        for proxy in ways.values():
            proxy.set(Trouble.NONE)
        go_on(0.5, installation, ways)


def go_on(seconds: float, installation: Installation, daemons: Iterable[Daemon]) -> None:
    """For this time, request mints from both, and read as a consumer."""
    pause = threading.Event()
    for _ in range(int(seconds / TICK)):
        for daemon in daemons:
            daemon.send(signal.SIGUSR1)
        pause.wait(TICK)
        assert installation.serves()


def leading(installation: Installation, ways: Iterable[Daemon]) -> Iterator[Daemon]:
    return (daemon for daemon in ways if installation.leads(daemon))


def test_no_write_of_an_old_leader_follows_one_of_the_new_leader(cluster, installed):
    chance, delay = random.Random(SEED), DURATION + 1.0
    with Proxy(cluster.port, delay) as one, Proxy(cluster.port, delay) as other:
        first = start(installed, one)
        first.wait_for("OutputWritten")
        second = start(installed, other)
        second.wait_for("TokenAdopted")
        lease, secret = cluster.must("GET", installed.lease), installed.stored()
        ways = {first: one, second: other}
        make_trouble(chance, installed, ways)
        leader = eventually(lambda: next(leading(installed, ways), None), "one of them leads")
        known = installed.token()
        leader.send(signal.SIGUSR1)
        eventually(lambda: installed.token() != known, "and it goes on")

    predecessor = lease["spec"]["holderIdentity"]
    held = [(0, predecessor), *terms(cluster, installed.lease, lease["metadata"]["resourceVersion"])]
    (successor,) = {holder for _, holder in held} - {predecessor, ""}
    minted = {
        entry["token_fingerprint"]: name
        for name, daemon in ((predecessor, first), (successor, second))
        for entry in daemon.entries("TokenMinted")
    }
    writes = [
        (revision, minted[stored["metadata"]["annotations"][f"{PREFIX}token-fingerprint"]])
        for revision, stored in history(cluster, installed.path, secret["metadata"]["resourceVersion"])
    ]
    assert out_of_turn(writes, held) == []
    assert {writer for _, writer in writes} == {predecessor, successor}
    assert len(held) > ROUNDS // 2, held  # otherwise the test tried nothing
