"""The types of values that options take. Each is declared once, for the loader and for the JSON Schema."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from string import Template
from typing import Any, NamedTuple

from refresher.config import durations
from refresher.config.durations import format_duration, parse_duration
from refresher.config.quoting import LONGEST_QUOTE, described, did_you_mean, plain, shown, variables_alone
from refresher.config.source_map import Ambiguous, Path
from refresher.core import formats

LONGEST_TEMPLATE = 65536  # characters


class ValueType(NamedTuple):
    """`parse` takes a value from a document, or a text from the command line, and returns the setting. It
    raises ValueError with what was given and what is accepted. `show` is its inverse, for defaults."""

    parse: Callable[[object], Any]
    schema: Mapping[str, object]
    metavar: str
    show: Callable[[Any], object] = lambda setting: setting
    choices: Callable[[Any], tuple[str, ...]] = lambda setting: (setting,)  # the words that a setting holds
    is_path: bool = False  # relative ones are resolved where the option was given
    # As `show`, for `config show`: without what may be a secret. None: the setting cannot hold one.
    redacted: Callable[[Any], object] | None = None


class MappingError(ValueError):
    """Problems inside a mapping: each key, or path of keys and indexes, with its problem."""

    def __init__(self, problems: Iterable[tuple[str | Path, str]]) -> None:
        self.problems = [(key if isinstance(key, tuple) else (key,), problem) for key, problem in problems]
        super().__init__("; ".join(f"{shown(path[-1])}: {problem}" for path, problem in self.problems))


class UnquotedError(ValueError):
    """YAML did not read the value as a text. In quotes it would be `text`."""

    def __init__(self, problem: str, text: str) -> None:
        super().__init__(problem)
        self.text = text


def read(value_type: ValueType, value: object) -> Any:
    """The setting for `value`. Raises ValueError; whatever its text suggests is accepted."""
    try:
        return value_type.parse(value)
    except UnquotedError as error:
        value_type.parse(error.text)  # raises any problem that quotes would not solve
        raise


def anchored(pattern: str) -> str:
    """`pattern` for a JSON Schema, where an unanchored one matches anywhere."""
    return f"^(?:{pattern})$"


SECTION = ValueType(lambda node: node, {}, "")  # for options that have options of their own


def text_of(value: object, accepted: str, *, echo: bool = True) -> str:
    """`value` if it is a text. Raises ValueError otherwise, and quotes the value only with `echo`."""
    if isinstance(value, str):
        if not _is_encodable(value, "surrogateescape"):  # JSON can spell half a character: "\ud800"
            raise not_accepted("a text with half a character is given", accepted)
        return value
    if isinstance(value, Ambiguous):
        raise ambiguous(value, "write it in quotes", value.text, echo=echo)
    if isinstance(value, bool | int | float):
        given = f"{shown(value)} is {described(value)}" if echo else f"{described(value)} is given"
        raise UnquotedError(f"{given}; write it in quotes; accepted: {accepted}", str(value).lower())
    raise not_accepted(f"{described(value)} is given", accepted)


def _is_encodable(text: str, errors: str = "strict") -> bool:
    try:
        text.encode("utf-8", errors)
    except UnicodeEncodeError:
        return False
    return True


def not_accepted(problem: str, accepted: str) -> ValueError:
    """The error that says what was given and what is accepted."""
    return ValueError(f"{problem}; accepted: {accepted}")


def ambiguous(value: Ambiguous, remedy: str, quoted: str | None = None, *, echo: bool = True) -> ValueError:
    """The error about a word that YAML reads as something else. `quoted`: the text to write in quotes."""
    problem = f"YAML reads {plain(value.text) if echo else 'it'} as {value.meaning}; {remedy}"
    if quoted is None:
        return ValueError(problem)
    return UnquotedError(
        f'{problem}: "{quoted}"' if echo and len(quoted) <= LONGEST_QUOTE else problem, quoted
    )


# Durations


def duration(shortest: float, longest: float, accepted: str, *, whole: bool = False) -> ValueType:
    """Seconds between `shortest` and `longest`; `accepted` states these limits in messages."""

    def parse(value: object) -> float:
        text = value.text if isinstance(value, Ambiguous) else value
        if readings := durations.clock_readings(text):
            fitting = [reading for reading in readings if fits(parse_duration(reading))]
            raise durations.two_meanings(str(text), fitting) if fitting else out_of_range(text)
        if isinstance(value, Ambiguous):
            raise ambiguous(value, f"accepted: {accepted}")
        seconds = parse_duration(value)
        if not fits(seconds):
            raise out_of_range(value)
        return seconds

    def fits(seconds: float) -> bool:
        return shortest <= seconds <= longest and not (whole and seconds != int(seconds))

    def out_of_range(value: object) -> ValueError:
        return not_accepted(f"{shown(value)} is out of range", accepted)

    limits = {"minimum": shortest, "maximum": longest} | ({"multipleOf": 1} if whole else {})
    pattern = anchored(durations.PATTERN)
    schema = {"type": ["string", "number"], "pattern": pattern, "maxLength": durations.LONGEST_TEXT, **limits}
    return ValueType(parse, schema, "DURATION", format_duration)


_SHARE_ACCEPTED = "20% to 95% of the lifetime, such as 70% or 0.7"
_PERCENT = r"(?:[2-8][0-9]|9[0-4])(?:\.[0-9]{1,6})?%|95(?:\.0{1,6})?%"
_FRACTION = r"0\.(?:[2-8][0-9]{0,8}|9[0-4][0-9]{0,7}|950{0,7}|9)"


def parse_share(value: object) -> float:
    """A share of the lifetime, 0.20 to 0.95, from ``70%`` or ``0.7``. A smaller share would mint in a hot
    loop, a larger one would leave no time for retries."""
    if isinstance(value, str):
        if re.fullmatch(rf"{_PERCENT}|{_FRACTION}", value):
            return float(value[:-1]) / 100 if value.endswith("%") else float(value)
        number = float(value) if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", value) else None
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if 0.2 <= value <= 0.95:
            return float(value)
        number = value
    elif isinstance(value, Ambiguous):
        raise not_accepted(f"{shown(value.text)} is not a share", _SHARE_ACCEPTED)
    else:
        number = None
    hint = f"did you mean {number:g}%? " if number is not None and 20 <= number <= 95 else ""
    raise ValueError(f"{shown(value)} is not a share; {hint}accepted: {_SHARE_ACCEPTED}")


SHARE = ValueType(
    parse_share,
    {
        "type": ["string", "number"],
        "pattern": anchored(rf"{_PERCENT}|{_FRACTION}"),
        "minimum": 0.2,
        "maximum": 0.95,
    },
    "PERCENT",
    lambda share: f"{share * 100:g}%",
)


# Names and choices

_NAME = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"  # an RFC 1123 label: fit for metrics, URLs, Kubernetes
_NAME_ACCEPTED = "1 to 63 of a-z, 0-9 and -, neither beginning nor ending in -"


def parse_name(value: object) -> str:
    text = text_of(value, _NAME_ACCEPTED)
    if not re.fullmatch(_NAME, text):
        raise not_accepted(f"{shown(text)} is not a name", _NAME_ACCEPTED)
    return text


NAME = ValueType(parse_name, {"type": "string", "pattern": anchored(_NAME)}, "NAME")


def choice(what: str, names: tuple[str, ...], metavar: str, fold: Callable[[str], str] = str) -> ValueType:
    """One of `names`. `fold` maps other spellings to them; messages say `what` they are."""

    def parse(value: object) -> str:
        text = fold(text_of(value, ", ".join(names)))
        if text not in names:
            hint = did_you_mean(text, names) or ";"
            raise ValueError(f"{shown(text)} is not a {what}{hint} accepted: {', '.join(names)}")
        return text

    return ValueType(parse, {"enum": list(names)}, metavar)


FORMAT = choice("format", formats.NAMES, "FORMAT")


def _parse_switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in ("true", "false"):
        return value == "true"
    raise not_accepted(f"{shown(value)} is not a switch", "true, false")


SWITCH = ValueType(
    _parse_switch,
    {"enum": [True, False, "true", "false"]},
    "true|false",
    lambda setting: str(setting).lower(),
)
_GROUP = r"[^\u0000-\u0020:+\-][^\u0000-\u001f\u007f:]{0,255}"
_GROUP_ACCEPTED = "a group's name or number"
LARGEST_GROUP = 2**32 - 2  # the next one is (gid_t) -1, which means "leave it unchanged" to chown(2)


def parse_group(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        text = str(value) if abs(value) <= LARGEST_GROUP else "-"
    else:
        text = text_of(value, _GROUP_ACCEPTED)
    if not re.fullmatch(_GROUP, text) or (re.fullmatch("[0-9]+", text) and int(text) > LARGEST_GROUP):
        raise not_accepted(f"{shown(value)} is not a group", _GROUP_ACCEPTED)
    return text


GROUP = ValueType(
    parse_group,
    {"type": ["string", "integer"], "pattern": anchored(_GROUP), "minimum": 0, "maximum": LARGEST_GROUP},
    "GROUP",
)


# Permissions of files

_MODE = r"0?[67][0-7][0145]"
_MODE_ACCEPTED = 'octal digits in quotes such as "0600" or "0640"'


def parse_mode(value: object) -> int:
    """Permission bits from octal digits in a text. YAML 1.1 reads the number 0640 as 416, YAML 1.2 as 640."""
    if isinstance(value, Ambiguous):
        raise ambiguous(value, "write it in quotes", value.text.replace("o", ""))
    if not isinstance(value, str):
        raise not_accepted(f"{shown(value)} is not a text", _MODE_ACCEPTED)
    if not re.fullmatch(r"[0-7]{3,4}", value):
        raise not_accepted(f"{shown(value)} is not a file mode", _MODE_ACCEPTED)
    mode = int(value, 8)
    if mode & 0o7000:
        raise not_accepted(f"{value} sets setuid, setgid or sticky", _MODE_ACCEPTED)
    if mode & 0o600 != 0o600:
        raise not_accepted(
            f"{value} keeps its owner, the refresher, from reading and writing it", _MODE_ACCEPTED
        )
    if mode & 0o002:
        raise not_accepted(f"{value} lets everybody write it", _MODE_ACCEPTED)
    return mode


MODE = ValueType(
    parse_mode, {"type": "string", "pattern": anchored(_MODE)}, "MODE", lambda mode: f"{mode:04o}"
)


# Templates

_TEMPLATE_ACCEPTED = f"text with {', '.join('$' + name for name in formats.PLACEHOLDERS)}"


def parse_template(value: object) -> str:
    """A `string.Template` with the access token in it. Messages do not quote it: it may hold a secret."""
    text = text_of(value, _TEMPLATE_ACCEPTED, echo=False)
    if len(text) > LONGEST_TEMPLATE or not _is_encodable(text):
        raise not_accepted(f"not a text of at most {LONGEST_TEMPLATE} characters", _TEMPLATE_ACCEPTED)
    if "access_token" not in placeholders(text, formats.PLACEHOLDERS, _TEMPLATE_ACCEPTED):
        raise not_accepted("the token, $access_token, is not in it", _TEMPLATE_ACCEPTED)
    return text


def placeholders(text: str, known: Collection[str], accepted: str) -> list[str]:
    """The names of the placeholders in `text`, a `string.Template`. Raises ValueError for a name that is not
    `known` and for a lone $."""
    for match in Template.pattern.finditer(text):
        if match["invalid"] is not None:
            line = text.count("\n", 0, match.start()) + 1
            raise not_accepted(f"a lone $ in line {line}; write $$ for a dollar", accepted)
    names = Template(text).get_identifiers()
    for name in names:
        if name not in known:
            hint = did_you_mean(f"${name}", [f"${each}" for each in known]) or ";"
            raise ValueError(f"${plain(name)} is not a placeholder{hint} accepted: {accepted}")
    return names


TEMPLATE = ValueType(
    parse_template,
    {"type": "string", "pattern": r"\$(access_token|\{access_token\})", "maxLength": LONGEST_TEMPLATE},
    "TEXT",
    redacted=variables_alone,
)
