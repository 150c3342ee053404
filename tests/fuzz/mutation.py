"""Mutations of a JSON document that keep it valid: mutated octets seldom get past the parser."""

import json
import random
from collections.abc import Callable
from typing import Any

DEPTH = 2000  # recursion ends at 1000
MUCH = 40  # of 100 mutations change the document, the others change its octets
DEEP = "(deep)"  # stands for a nesting too deep for every parser
STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 1e308, 10**400, float("nan"), float("inf"), "", "=", "\0", "\ud800", [],
    {}, [[]], "9999-12-31T22:59:59-23:59", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59",
    "0001-01-01T01:00:00+23:59", DEEP, DEEP, DEEP,
)  # fmt: skip

Mutate = Callable[[bytes, int], bytes]


def mutator(separator: bytes, mutate: Callable[[bytes, int], bytes]) -> Callable[[bytes, int, int], bytes]:
    """A custom mutator for octets with a document after the first `separator`; b"": all of them are the
    document. `mutate` is libFuzzer's own."""

    def mutated(octets: bytes, longest: int, seed: int) -> bytes:
        dice = random.Random(seed)
        before, between, text = octets.partition(separator) if separator else (b"", b"", octets)
        made = _mutated(text, dice, mutate) if dice.randrange(100) < MUCH else None
        if made is None or len(before + between + made) > longest:
            return mutate(octets, longest)
        return before + between + made

    return mutated


def _mutated(text: bytes, dice: random.Random, mutate: Mutate) -> bytes | None:
    """The document in `text` with a few changes; None if `text` has no document."""
    try:
        document = json.loads(text)
        for _ in range(dice.choice((1, 1, 2, 4))):
            document = _changed(document, dice, mutate)
        return json.dumps(document).replace(f'"{DEEP}"', "[" * DEPTH).encode()
    except (ValueError, RecursionError):
        return None


def _changed(value: Any, dice: random.Random, mutate: Mutate) -> Any:
    """`value` with one change somewhere in it."""
    if isinstance(value, dict) and value and dice.randrange(8):
        return _changed_object(value, dice, mutate)
    if isinstance(value, list) and value and dice.randrange(8):
        at = dice.randrange(len(value))
        if not dice.randrange(6):
            return value[:at] + value[at + dice.randrange(2) :] + [value[at]]
        return [*value[:at], _changed(value[at], dice, mutate), *value[at + 1 :]]
    if isinstance(value, str) and dice.randrange(4):
        inner = _mutated(value.encode(), dice, mutate) if value[:1] == "{" and dice.randrange(2) else None
        return inner.decode() if inner is not None else _text(value, mutate)
    return dice.choice(STRANGE)


def _changed_object(value: dict[str, Any], dice: random.Random, mutate: Mutate) -> dict[str, Any]:
    key = dice.choice(list(value))
    match dice.randrange(10):
        case 0:
            return {name: each for name, each in value.items() if name != key}
        case 1:
            return {**value, _text(key, mutate): value[key]}
        case 2:
            return {**value, key: value[dice.choice(list(value))]}
    return {**value, key: _changed(value[key], dice, mutate)}


def _text(text: str, mutate: Mutate) -> str:
    return mutate(text.encode(errors="surrogatepass"), len(text) + 16).decode(errors="replace")
