"""Troubles as values, drawn from a seed: what can be dropped, shortened and told."""

import random
from typing import NamedTuple, Self

from tests.simulation.wants import Guest, Place, Wants

FILE_FORMS = ("token", "json", "env", "bearer", "header", "inlive-sdk", "envoy-sds", "template")
ONLY_FILES = ("reboot", "output_cannot_be_written")
ONLY_SECRETS = ("api_fault",)
ANY_FILE = ("output_hangs",)
ONLY_VERIFIED = ("verifier_fails",)
ONLY_TWO = ("leader_cut_off", "leadership_flaps", "lease_is_deleted", "mint_as_leadership_ends")
ONLY_SETS = ("token_changes", "token_is_renamed", "output_is_taken_over", "token_flaps")
ONLY_EXCLUSIVE = (
    "mint_without_an_output",
    "answer_is_lost",
    "output_is_held",
    "shorter_token",
    "mint_as_leadership_ends",
)
WITH_EXCLUSIVE = (
    "outage",
    "slow_answers",
    "kill",
    "kill_in_a_write",
    "kill_in_a_mint",
    "suspended",
    "new_key",
    "output_is_deleted",
    "operator_asks",
    "refresh_is_requested",
    "output_cannot_be_written",
    "output_hangs",
    "api_fault",
    "leader_cut_off",
    "leadership_flaps",
    "lease_is_deleted",
)
EXCLUSIVE_FORMS = ("token", "json", "bearer")  # adopted with its value, so that the others get it too
KINDS = (
    "outage",
    "outage",
    "outage",
    "slow_answers",
    "same_token",
    "token_ends_early",
    "kill",
    "kill",
    "kill_in_a_write",
    "kill_in_a_write",
    "kill_in_a_mint",
    "suspended",
    "suspended_too_long",
    "wall_clock_jumps",
    "new_key",
    "bad_key",
    "key_vanishes",
    "key_hangs",
    "resolver_hangs",
    "resolver_hangs",
    "threads_refused",
    "threads_refused",
    "output_is_deleted",
    "output_is_altered",
    "operator_asks",
    "refresh_is_requested",
    *ONLY_FILES,
    *ANY_FILE,
    *ANY_FILE,
    *ONLY_SECRETS,
    *ONLY_SECRETS,
    *ONLY_VERIFIED,
    *ONLY_VERIFIED,
    "configuration_changes",
    "configuration_changes",
    *ONLY_TWO[:3],
    *(3 * ONLY_SETS),
    *(3 * ONLY_EXCLUSIVE),
)
HOUR = 3600.0
LIFETIMES = (300.0, 300.0, 600.0, 600.0, 900.0, HOUR, HOUR, 2 * HOUR, 6 * HOUR, 24 * HOUR, 24 * HOUR)
NOT_IN_NARROW_LANES = ("slow_answers", "resolver_hangs", "threads_refused", "output_hangs", "api_fault")
WITHIN_AN_OUTAGE = ("kill", "suspended", "operator_asks")
WITHIN_A_HANG = ("kill", "operator_asks")
WITHIN_A_WAIT = (*WITHIN_A_HANG, "configuration_changes")
WITHIN = {
    "outage": WITHIN_AN_OUTAGE,
    "output_hangs": WITHIN_A_HANG,
    "resolver_hangs": WITHIN_A_WAIT,
    "threads_refused": WITHIN_A_WAIT,
}


class Trouble(NamedTuple):
    """`gap`: token lives from when all is well again until it begins. `lasts`: of what can be borne, 0 to 1.
    `pick`, 0 to 1, chooses among its variants. `also`: another one that begins `lasts` of the way into it."""

    kind: str
    gap: float
    lasts: float
    pick: float
    also: "Trouble | None" = None

    def without(self) -> Self:
        return self._replace(also=None)


class Plan(NamedTuple):
    """A whole scenario, before anything has happened."""

    seed: int
    wants: Wants
    days: float
    troubles: tuple[Trouble, ...]


def drawn(seed: int, days: float | None = None, often: tuple[str, ...] = ()) -> Plan:
    """The scenario of this seed, of so many days, or of as many as fit its tokens' life. Every second trouble
    is one of the kinds in `often`."""
    dice = random.Random(seed)
    wants = _wants(dice)._replace(hooks=seed % 4 == 1)
    if seed % 7 == 4 or any(kind in ONLY_EXCLUSIVE for kind in often):
        wants = _exclusive(wants, seed)
    elif seed % 6 == 5 or any(kind in ONLY_SETS for kind in often):
        wants = _with_guests(wants, seed)
    days = days or min(30.0, 40 * wants.lives / 86400) / (10 if wants.dense else 1)
    kinds = [kind for kind in KINDS if _is_possible(kind, wants)]
    favoured = [kind for kind in often if _is_possible(kind, wants)]
    kinds += favoured * (len(kinds) // max(1, len(favoured)))
    return Plan(seed, wants, days, tuple(_trouble(dice, kinds) for _ in range(200)))


def _wants(dice: random.Random) -> Wants:
    processes = 2 if dice.random() < 0.3 else 1
    lifetime = dice.choice(LIFETIMES)
    places = []
    for number in range(dice.randint(1, 3)):
        kind = "secret" if processes > 1 or dice.random() < 0.3 else "file"
        propagation_delay = (
            dice.choice((30.0, 120.0)) if kind == "secret" else dice.choice((0.0, 0.0, 10.0, 120.0))
        )
        places.append(Place(kind, dice.choice(FILE_FORMS), propagation_delay, number))
    return Wants(
        lifetime=lifetime,
        refresh_at=dice.choice((0.5, 0.7, 0.8)),
        places=tuple(places),
        processes=processes,
        slow=dice.choice((0.1, 2.0)),
        longest=dice.choice((None, None, None, lifetime / 2)) if lifetime >= 1800 else None,
        drift=dice.choice((0.0, 0.0, 1e-4, -1e-4)),
        dense=processes == 1 and dice.random() < 0.1,
        verifies=dice.random() < 0.3,
    )


def _with_guests(wants: Wants, seed: int) -> Wants:
    """With one to three more tokens, whose outputs and lifetimes resemble those of the first."""
    dice = random.Random(f"guests of {seed}")
    kind, number = wants.places[0].kind, len(wants.places)
    at = LIFETIMES.index(wants.lifetime)
    guests = []
    for _ in range(dice.choice((1, 1, 2, 3))):
        places = []
        for _ in range(dice.choice((1, 1, 2))):
            places.append(Place(kind, dice.choice(FILE_FORMS), dice.choice((0.0, 10.0, 30.0)), number))
            number += 1
        near = LIFETIMES[max(0, at - 2) : at + 3]
        guests.append(Guest(dice.choice(near), dice.choice((0.5, 0.7, 0.8)), tuple(places)))
    deletes = lambda place: place._replace(deletes=dice.random() < 0.5)  # noqa: E731
    return wants._replace(
        places=tuple(map(deletes, wants.places)),
        guests=tuple(guest._replace(places=tuple(map(deletes, guest.places))) for guest in guests),
        dense=False,
        longest=None,
        narrow=wants.processes == 1 and dice.random() < 0.3,
    )


def _exclusive(wants: Wants, seed: int) -> Wants:
    """With an issuer whose new token ends the old one. One that grants less has to state that, as a JWT."""
    dice = random.Random(f"exclusive {seed}")
    readable = lambda place: place._replace(form=dice.choice(EXCLUSIVE_FORMS))  # noqa: E731
    return wants._replace(
        places=tuple(map(readable, wants.places)),
        longest=wants.longest or wants.lifetime,
        verifies=False,
        exclusive=True,
    )


def _is_possible(kind: str, wants: Wants) -> bool:
    only_files = (*ONLY_FILES, "output_is_held")
    needs = (
        (kind not in ONLY_SETS or bool(wants.guests)),
        (kind not in NOT_IN_NARROW_LANES or not wants.narrow),
        (kind not in ONLY_TWO or wants.processes > 1),
        (kind not in only_files or all(place.kind == "file" for place in wants.all_places)),
        (kind not in ANY_FILE or wants.has_file),
        (kind not in ONLY_VERIFIED or wants.verifies),
        (kind not in ONLY_SECRETS or wants.has_secret),
        (kind not in ONLY_EXCLUSIVE or wants.exclusive),
        (not wants.exclusive or kind in (*ONLY_EXCLUSIVE, *WITH_EXCLUSIVE)),
    )
    return all(needs)


def _trouble(dice: random.Random, kinds: list[str]) -> Trouble:
    kind = dice.choice(kinds)
    also = None
    if kind in WITHIN and dice.random() < 0.4:
        within = dice.choice(WITHIN[kind])
        also = Trouble(within, 0.0, dice.random(), dice.random())
    # Half of them as long as can be borne: that is where promises are broken.
    lasts = 1.0 if dice.random() < 0.5 else dice.random()
    return Trouble(kind, dice.expovariate(1.0), lasts, dice.random(), also)
