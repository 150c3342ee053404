"""Single texts: a moment, the claims of a token, the value of an option, a command line."""

import base64
import json
import math
import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import product

from refresher.clock import SystemClock
from refresher.config import flags
from refresher.config.declarations import SECTIONS
from refresher.config.files import read_json
from refresher.config.loader import load
from refresher.config.options import Option, options_of
from refresher.config.source_map import MalformedError
from refresher.core import rfc3339
from refresher.core.expiry import UselessTokenError, believed_lifetime
from refresher.errors import ConfigurationError
from refresher.issuer.client import InliveIssuer
from tests.fuzz.target import JSON_WORDS, NOW, Target


def moment(octets: bytes) -> None:
    try:
        wall = rfc3339.parse(octets.decode(errors="surrogatepass"))
    except ValueError:  # UnicodeDecodeError is one
        return
    assert math.isfinite(wall)
    assert math.isclose(rfc3339.parse(rfc3339.to_microsecond(wall)), wall, abs_tol=1e-4)
    assert 0 <= wall - rfc3339.parse(rfc3339.to_second(wall)) < 1


def claims(octets: bytes) -> None:
    """As the whole of a token, and as the claims of one."""
    inside = base64.urlsafe_b64encode(octets).decode().rstrip("=")
    for token, date in product((octets.decode("latin-1"), f"e30.{inside}."), (None, NOW.wall)):
        with suppress(UselessTokenError):
            assert 30.0 <= believed_lifetime(3600.0, token, date, NOW.wall) <= 3600.0  # and not NaN


def _plain_options() -> list[Option]:
    declared = [
        option for section in SECTIONS for option in options_of(section).values() if not option.sections
    ]
    return [*declared, flags.CONFIG]


def option(octets: bytes) -> None:
    """The first octet selects the option; the rest is a text, as from a flag, or JSON, as from a file."""
    options = _plain_options()
    one = options[octets[0] % len(options)] if octets else flags.CONFIG
    text = octets[1:].decode(errors="surrogateescape")
    given: list[object] = [text]
    try:
        given.append(read_json(text))
    except MalformedError as error:
        assert error.problem.isprintable()
    for value in given:
        try:
            found = one.value_type.parse(value)
        except ValueError as error:
            assert str(error).isprintable(), ascii(str(error))
            continue
        if one.value_type.schema.get("type") == ["string", "number"] and "maxLength" in one.value_type.schema:
            assert one.value_type.schema["minimum"] <= found <= one.value_type.schema["maximum"]
        shown = one.value_type.show(found)
        if isinstance(found, str | int) or one.key in ("timeout", "lifetime", "duration"):
            is_body = one.value_type.schema.get("type") == "object"  # kept as JSON text
            again = one.value_type.parse(read_json(shown) if is_body else shown)
            assert again == found or (isinstance(found, float) and math.isclose(again, found, abs_tol=6e-4))


def _option_seeds() -> Iterator[bytes]:
    for number, one in enumerate(_plain_options()):
        example = one.example if isinstance(one.example, str) else json.dumps(one.example)
        yield bytes([number]) + example.encode()
        yield bytes([number]) + b"-1"


def command_line(octets: bytes) -> None:
    """A JSON object of flags, as `load` gets it from argparse: every value is a text."""
    try:
        flag_values = json.loads(octets)
    except (ValueError, RecursionError):
        return
    if not isinstance(flag_values, dict):
        return
    arguments: dict[str, object] = {}
    for _, one in flags.declared_flags():
        name = flags.destination(one)
        if isinstance(flag_values.get(name), str) and name != "config" and "\0" not in flag_values[name]:
            arguments[name] = flag_values[name].split(":") if one.repeated else flag_values[name]
    environ = {name: text for name, text in flag_values.items() if isinstance(text, str)}
    for flags_given, variables in ((arguments, {}), ({}, {**environ, "REFRESHER_CONFIG": ""})):
        for needs in (("key", "outputs"), ("key",), ()):
            try:
                load(flags_given, variables, "/nowhere", needs=needs)
            except ConfigurationError as error:
                assert all(str(mistake).isprintable() for mistake in error.problems), error.problems


def _command_line_seeds() -> Iterator[bytes]:
    flag_values = {flags.destination(one): str(one.example) for _, one in flags.declared_flags()}
    yield json.dumps(flag_values).encode()
    yield json.dumps({one.variable: str(one.example) for _, one in flags.declared_flags()}).encode()
    yield b'{"key_file": "k", "to_file": "t", "REFRESHER_LIFETME": "1h"}'


def proxy(octets: bytes) -> None:
    """The value of HTTPS_PROXY; sends no request."""
    os.environ["https_proxy"] = octets.decode(errors="replace").replace("\0", "")
    try:
        InliveIssuer("https://issuer.test", SystemClock())
    finally:
        del os.environ["https_proxy"]


UNITS = ("1h30m", "ms", "1.5s", "d", "%", "70%", ":", "-", "0640", "0x", "1e308", "$access_token", "${", "https://",
         "[::1]", "127.0.0.1", "/v1/keys/accesstoken", "@", "~", "..", "/", "\ufeff", "\u0663")  # fmt: skip

TARGETS = {
    "proxy": Target(
        proxy,
        lambda: [b"http://user:secret@proxy.test:3128", b"[::1]:3128", b"socks5://h"],
        ("://", "@", "[", "]", ":", "%", "\u2100", "https://"),
    ),
    "moment": Target(
        moment,
        lambda: [b"2026-11-05T10:00:00Z", b"2026-11-05T10:00:00.25-02:30", b"2026-W45-4T10:00+00:00"],
        ("0001-01-01T", "9999-12-31T", "23:59:59", "+23:59", "-23:59:59.999999", "24:00", "Z", "W53", ","),
    ),
    "claims": Target(
        claims,
        lambda: [b'{"iat": 1000, "exp": 2800.5}', b"e30.e30.e30"],
        (*JSON_WORDS, '"iat"', '"exp"'),
        document=b"",
    ),
    "option": Target(option, _option_seeds, (*UNITS, *JSON_WORDS)),
    "command-line": Target(
        command_line,
        _command_line_seeds,
        (*UNITS, '"', '": "', "key_file", "to_file", "to_secret", "REFRESHER_"),
        document=b"",
    ),
}
