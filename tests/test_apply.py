"""`Engine.apply`: the tokens are a value, and the engine follows a new one."""

import threading

import pytest

from refresher.core.effects import MINT
from refresher.core.events import KeyRead, KeyUnreadable, RefreshRequested
from refresher.core.model import SecretStr
from refresher.core.notifications import KeyLoaded, OutputWritten, TokenAdopted, TokenMinted, TokenRemoved
from refresher.keys.poller import KeyPoller
from refresher.ports import ManagedToken, Message
from tests.simulation.site import HOUR, STOP, Issuer, Key, Site
from tests.simulation.virtual import World

MINUTE = 60.0


def apply_after(site: Site, seconds: float, *names: str) -> None:
    """Have these tokens managed from then on, as the site has them then."""
    site.at(seconds, lambda: site.engine.apply([site.managed_tokens[name] for name in names]))


def test_a_token_that_comes_is_minted_and_the_others_are_left_alone():
    site = Site("a", "b")
    b = site.managed_tokens.pop("b")

    def come() -> None:
        site.managed_tokens["b"] = b
        site.engine.apply(site.managed_tokens.values())

    site.at(MINUTE + 0.5, come)
    site.runs(2 * MINUTE)
    assert (site.minted("a"), site.minted("b")) == (1, 1)
    assert site.outputs["b"].content is not None
    ((at, _),) = site.memory.of(TokenMinted, "b")
    assert at - site.began < MINUTE + 1.2  # its key is read at once


def test_the_same_tokens_again_change_nothing():
    site = Site("a", "b")
    for minute in range(1, 30):
        apply_after(site, minute * MINUTE, "b", "a")
    site.runs(30 * MINUTE)
    quiet = Site("a", "b").runs(30 * MINUTE)
    assert (site.minted("a"), site.minted("b")) == (1, 1)
    assert [each.written for each in site.outputs.values()] == [
        each.written for each in quiet.outputs.values()
    ]
    assert [entry for entry in site.memory.entries if isinstance(entry[2], TokenRemoved)] == []


def test_a_token_that_goes_is_not_refreshed_any_more_and_what_is_published_stays():
    site = Site("a", "b")
    apply_after(site, MINUTE, "a")
    site.runs(3 * HOUR)
    assert site.minted("b") == 1
    assert site.minted("a") > 3
    assert site.outputs["b"].content is not None
    assert list(site.states) == ["a"]
    assert [name for _, name, said in site.memory.entries if isinstance(said, TokenRemoved)] == ["b"]
    assert site.held["b"] == set()


def test_a_token_that_comes_back_is_adopted_from_its_outputs():
    site = Site("a", "b")
    apply_after(site, MINUTE, "a")
    apply_after(site, 10 * MINUTE, "a", "b")
    site.runs(20 * MINUTE)
    assert site.minted("b") == 1
    assert len(site.memory.of(TokenAdopted, "b")) == 1
    assert len(site.memory.of(KeyLoaded, "b")) == 2


def test_a_new_output_gets_the_token_in_hand():
    site = Site("a")
    added = site.output("added", lane="file:added")

    def change() -> None:
        site.give("a", site.outputs["a"], added)
        site.engine.apply(site.managed_tokens.values())

    site.at(MINUTE, change)
    site.runs(2 * MINUTE)
    assert site.minted("a") == 1
    assert added.content == site.outputs["a"].content
    assert len(site.outputs["a"].written) == 1


def test_a_mint_in_flight_is_not_lost_when_something_else_changes():
    site = Site("a", takes=5.0)

    def change() -> None:
        site.give("a", site.outputs["a"], refresh_at=0.5)
        site.engine.apply(site.managed_tokens.values())

    site.at(1.0, change)
    site.runs(MINUTE)
    assert len(site.issuer.asked) == 1
    assert site.minted("a") == 1


def test_a_mint_in_flight_at_a_client_that_is_replaced_is_not_waited_for():
    site = Site("a", takes=5.0)
    other = Issuer(site.process, {"key"}, takes=10.0, lane="issuer:https://other.test")

    def change() -> None:
        before = site.managed_tokens["a"]
        policy = before.policy._replace(issuer="https://other.test")
        site.engine.apply([before._replace(policy=policy, issuer=other)])

    site.at(1.0, change)
    site.runs(MINUTE)
    ((at, minted),) = site.memory.of(TokenMinted, "a")
    assert at - site.began < 12.0  # it did not wait for the first one
    assert len(other.asked) == 1  # and the end of the first one was not taken for its own
    assert minted.facts.issuer == "https://other.test"


def test_what_ends_for_a_token_that_is_gone_is_of_no_consequence():
    site = Site("a", "b", takes=5.0)
    apply_after(site, 1.0, "a")
    site.runs(MINUTE)
    assert len(site.issuer.asked) == 2
    assert site.minted("b") == 0
    assert site.outputs["b"].content is None


def of_keys(site: Site, names: tuple[str, ...]) -> list[ManagedToken]:
    """The site's tokens, each with the next of these names."""
    return [
        managed._replace(policy=managed.policy._replace(name=name))
        for name, managed in zip(names, site.managed_tokens.values(), strict=True)
    ]


def writers(site: Site) -> dict[str, set[str]]:
    """Which keys minted the tokens that were written in each output."""
    minted_with = {
        each.facts.fingerprint: each.facts.key_fingerprint for _, each in site.memory.of(TokenMinted)
    }
    return {
        output.name: {minted_with[fingerprint] for _, fingerprint in output.written}
        for output in site.outputs.values()
    }


@pytest.mark.parametrize("names", [("b", "a"), ("x", "a"), ("b", "x")])
@pytest.mark.parametrize("takes", [0.05, 5.0])
def test_a_name_that_another_token_gets_does_not_lead_the_former_token_to_its_consumers(names, takes):
    """At rest, and while both tokens are minted for the second time."""
    site = Site("a", "b")
    site.issuer.keys = {"key of a", "key of b"}
    for name, each in site.keys.items():
        each.content = f"key of {name}"
    site.at(MINUTE, lambda: setattr(site.issuer, "takes", takes))
    site.post(MINUTE, Message(None, RefreshRequested()))
    site.at(MINUTE + 2.0, lambda: site.engine.apply(of_keys(site, names)))
    site.runs(10 * MINUTE)
    assert all(output.written for output in site.outputs.values())
    for name, keys in writers(site).items():
        assert keys == {SecretStr(f"key of {name.removeprefix('output of ')}").fingerprint}


def test_a_mint_for_a_token_that_is_gone_does_not_count_for_one_of_its_name_that_comes():
    """It ends late, after the new token was minted with another key."""
    site = Site("a", takes=5.0)
    site.issuer.keys = {"former", "key"}
    site.keys["a"].content = "former"
    former, other = site.managed_tokens["a"], Key(site.world, "key", "another")
    site.at(1.0, lambda: site.engine.apply([]))
    site.at(2.0, lambda: site.engine.apply([former._replace(key=other)]))
    site.runs(MINUTE)
    assert len(site.issuer.asked) == 2
    assert writers(site) == {"output of a": {SecretStr("key").fingerprint}}


def test_a_message_for_a_token_that_is_gone_is_dropped():
    site = Site("a")
    site.post(MINUTE, Message("gone", RefreshRequested()))
    site.runs(2 * MINUTE)
    assert site.minted("a") == 1


def test_a_token_that_comes_where_this_process_leads_is_minted_and_where_it_does_not_is_not():
    for leads, minted in ((True, 1), (False, 0)):
        site = Site("a")
        site.leads = leads
        managed = site.managed_tokens.pop("a")
        elected = managed._replace(policy=managed.policy._replace(elected=True))
        site.at(MINUTE, lambda site=site, elected=elected: site.engine.apply([elected]))
        site.runs(2 * MINUTE)
        assert site.minted("a") == minted


def test_nothing_is_minted_for_a_token_that_comes_while_the_process_ends():
    site = Site("a", "b", takes=3.0)
    b = site.managed_tokens.pop("b")
    site.post(1.0, STOP)
    site.at(1.5, lambda: site.engine.apply([*site.managed_tokens.values(), b]))
    site.ends()
    assert (site.minted("a"), site.minted("b")) == (1, 0)
    assert site.outputs["b"].calls == 0
    assert len(site.memory.of(OutputWritten, "a")) == 1


def test_no_token_at_all_is_a_set_of_tokens_too():
    site = Site("a")
    apply_after(site, MINUTE)
    site.post(HOUR, STOP)
    site.ends()
    assert site.engine.view() == ()
    assert site.engine.managed("a") is None


def test_a_view_never_shows_half_of_a_change():
    site = Site("a", "b", "c", "d")
    both = [list("ab"), list("cd")]
    for second in range(1, 200):
        apply_after(site, float(second), *both[second % 2])
    engine, over, seen = site.engine, threading.Event(), set[str]()

    def look() -> None:
        while not over.is_set():
            seen.add("".join(policy.name for policy, _ in engine.view()))

    reader = threading.Thread(target=look)
    reader.start()
    try:
        site.runs(300.0)
    finally:
        over.set()
        reader.join()
    assert seen <= {"abcd", "ab", "cd"}


def test_the_parts_of_a_token_that_another_does_not_share():
    site = Site("a")
    one = site.managed_tokens["a"]
    assert one.replaced_by(one._replace(policy=one.policy._replace(refresh_at=0.5))) == set()
    other = one._replace(issuer=Site("a").issuer)
    assert [slot.kind for slot in one.replaced_by(other)] == [MINT]
    assert [slot.target for slot in one.replaced_by(one._replace(outputs=()))] == ["output of a"]


# --- Which keys are read


def sources(**keys: Key) -> list[tuple[str, Key]]:
    return list(keys.items())


def key(content: str | None, name: str) -> Key:
    return Key(World(seed=1), content, name)


def test_a_token_that_comes_is_told_its_key_even_where_another_has_it_already():
    shared = key("key", "shared")
    poller = KeyPoller(sources(a=shared))
    list(poller.poll(0.0))
    poller.follow(sources(a=shared, b=shared))
    assert list(poller.poll(2.0)) == [Message("b", KeyRead(SecretStr("key")))]


def test_a_token_that_has_another_key_source_is_told_its_key_even_if_it_is_the_same():
    poller = KeyPoller(sources(a=key("key", "old")))
    list(poller.poll(0.0))
    poller.follow(sources(a=key("key", "new")))
    assert list(poller.poll(2.0)) == [Message("a", KeyRead(SecretStr("key")))]
    assert list(poller.poll(4.0)) == []


def test_the_key_of_a_token_that_goes_is_not_read_any_more():
    gone = key("key", "gone")
    poller = KeyPoller(sources(a=gone, b=key("key", "kept")))
    list(poller.poll(0.0))
    poller.follow(sources(b=key("key", "kept")))
    list(poller.poll(2.0))
    assert len(gone.reads) == 1


def test_a_key_that_could_not_be_read_is_told_anew_to_a_token_that_comes_back():
    broken = key(None, "broken")
    poller = KeyPoller(sources(a=broken))
    list(poller.poll(0.0))
    poller.follow([])
    assert list(poller.poll(2.0)) == []
    poller.follow(sources(a=broken))
    (message,) = poller.poll(4.0)
    assert isinstance(message.event, KeyUnreadable)
