"""The kinds of values that options take. Each kind is told once for the loader and for the JSON Schema."""

import re
from collections.abc import Callable, Mapping
from string import Template
from typing import Any, NamedTuple

from refresher.config import durations
from refresher.config.durations import format_duration, parse_duration
from refresher.config.located import Ambiguous
from refresher.config.wording import LONGEST_QUOTE, described, did_you_mean, plain, shown
from refresher.core import formats

LONGEST_PATH = 4095  # PATH_MAX without the NUL, limits.h
LONGEST_TEMPLATE = 65536


class Kind(NamedTuple):
    """`parse` takes a value of a document or a text of the command line and returns the setting, or raises
    ValueError that says what was given and what is accepted. `show` is its inverse, for defaults."""

    parse: Callable[[object], Any]
    schema: Mapping[str, object]
    metavar: str
    show: Callable[[Any], object] = lambda setting: setting
    is_path: bool = False  # relative ones are resolved where the option was given


class MisfitsError(ValueError):
    """What is wrong inside of a mapping: each key with its problem."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{shown(key)}: {problem}" for key, problem in problems))
        self.problems = problems


class UnquotedError(ValueError):
    """YAML took the value for something else than a text, which it would be in quotes: `text`."""

    def __init__(self, problem: str, text: str) -> None:
        super().__init__(problem)
        self.text = text


def read(kind: Kind, value: object) -> Any:
    """The setting that `value` means. Raises ValueError; what it says to write is accepted."""
    try:
        return kind.parse(value)
    except UnquotedError as error:
        kind.parse(error.text)  # raises what is wrong with it beside the quotes
        raise


def anchored(pattern: str) -> str:
    """`pattern` as JSON Schema takes it: there a match anywhere would do."""
    return f"^(?:{pattern})$"


SECTION = Kind(lambda node: node, {}, "")  # of options that have options of their own


def text_of(value: object, accepted: str, *, echo: bool = True) -> str:
    """`value` if it is a text. Raises ValueError otherwise, which quotes the value only with `echo`."""
    if isinstance(value, str):
        if not _is_encodable(value, "surrogateescape"):  # JSON can spell half a character: "\ud800"
            raise misfit("a text with half a character is given", accepted)
        return value
    if isinstance(value, Ambiguous):
        raise misread(value, "write it in quotes", value.text, echo=echo)
    if isinstance(value, bool | int | float):
        given = f"{shown(value)} is {described(value)}" if echo else f"{described(value)} is given"
        raise UnquotedError(f"{given}; write it in quotes; accepted: {accepted}", str(value).lower())
    raise misfit(f"{described(value)} is given", accepted)


def _is_encodable(text: str, errors: str = "strict") -> bool:
    try:
        text.encode("utf-8", errors)
    except UnicodeEncodeError:
        return False
    return True


def misfit(problem: str, accepted: str) -> ValueError:
    """The error that says what was given and what is accepted."""
    return ValueError(f"{problem}; accepted: {accepted}")


def misread(value: Ambiguous, remedy: str, quoted: str | None = None, *, echo: bool = True) -> ValueError:
    """The error about a word that does not mean in YAML what it says. `quoted`: what to write in quotes."""
    problem = f"YAML reads {plain(value.text) if echo else 'it'} as {value.meaning}; {remedy}"
    if quoted is None:
        return ValueError(problem)
    return UnquotedError(
        f'{problem}: "{quoted}"' if echo and len(quoted) <= LONGEST_QUOTE else problem, quoted
    )


# Durations


def duration(shortest: float, longest: float, accepted: str, *, whole: bool = False) -> Kind:
    """Seconds between `shortest` and `longest`; `accepted` tells these limits to people."""

    def parse(value: object) -> float:
        text = value.text if isinstance(value, Ambiguous) else value
        if readings := durations.clock_readings(text):
            fitting = [each for each in readings if fits(parse_duration(each))]
            raise durations.two_meanings(str(text), fitting) if fitting else out_of_range(text)
        if isinstance(value, Ambiguous):
            raise misread(value, f"accepted: {accepted}")
        seconds = parse_duration(value)
        if not fits(seconds):
            raise out_of_range(value)
        return seconds

    def fits(seconds: float) -> bool:
        return shortest <= seconds <= longest and not (whole and seconds != int(seconds))

    def out_of_range(value: object) -> ValueError:
        return misfit(f"{shown(value)} is out of range", accepted)

    limits = {"minimum": shortest, "maximum": longest} | ({"multipleOf": 1} if whole else {})
    pattern = anchored(durations.PATTERN)
    schema = {"type": ["string", "number"], "pattern": pattern, "maxLength": durations.LONGEST_TEXT, **limits}
    return Kind(parse, schema, "DURATION", format_duration)


_SHARE_ACCEPTED = "20% to 95% of the lifetime, such as 70% or 0.7"
_PERCENT = r"(?:[2-8][0-9]|9[0-4])(?:\.[0-9]{1,6})?%|95(?:\.0{1,6})?%"
_FRACTION = r"0\.(?:[2-8][0-9]{0,8}|9[0-4][0-9]{0,7}|950{0,7}|9)"


def parse_share(value: object) -> float:
    """A share of the lifetime, 0.20 to 0.95, from ``70%`` or ``0.7``. Earlier than a fifth mints in a hot
    loop, later than 95 % leaves nothing for retries."""
    if isinstance(value, str):
        if re.fullmatch(rf"{_PERCENT}|{_FRACTION}", value):
            return float(value[:-1]) / 100 if value.endswith("%") else float(value)
        number = float(value) if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", value) else None
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if 0.2 <= value <= 0.95:
            return float(value)
        number = value
    elif isinstance(value, Ambiguous):
        raise misfit(f"{shown(value.text)} is not a share", _SHARE_ACCEPTED)
    else:
        number = None
    hint = f"did you mean {number:g}%? " if number is not None and 20 <= number <= 95 else ""
    raise ValueError(f"{shown(value)} is not a share; {hint}accepted: {_SHARE_ACCEPTED}")


SHARE = Kind(
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
        raise misfit(f"{shown(text)} is not a token name", _NAME_ACCEPTED)
    return text


NAME = Kind(parse_name, {"type": "string", "pattern": anchored(_NAME)}, "NAME")


def choice(what: str, names: tuple[str, ...], metavar: str, fold: Callable[[str], str] = str) -> Kind:
    def parse(value: object) -> str:
        text = fold(text_of(value, ", ".join(names)))
        if text not in names:
            hint = did_you_mean(text, names) or ";"
            raise ValueError(f"{shown(text)} is not a {what}{hint} accepted: {', '.join(names)}")
        return text

    return Kind(parse, {"enum": list(names)}, metavar)


FORMAT = choice("format", formats.NAMES, "FORMAT")

_GROUP = r"[^\u0000-\u0020:+\-][^\u0000-\u001f\u007f:]{0,255}"
_GROUP_ACCEPTED = "a group's name or number"
LARGEST_GROUP = 2**32 - 2  # the next one is (gid_t) -1, by which chown(2) means "leave as it is"


def parse_group(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        text = str(value) if abs(value) <= LARGEST_GROUP else "-"
    else:
        text = text_of(value, _GROUP_ACCEPTED)
    if not re.fullmatch(_GROUP, text) or (re.fullmatch("[0-9]+", text) and int(text) > LARGEST_GROUP):
        raise misfit(f"{shown(value)} is not a group", _GROUP_ACCEPTED)
    return text


GROUP = Kind(
    parse_group,
    {"type": ["string", "integer"], "pattern": anchored(_GROUP), "minimum": 0, "maximum": LARGEST_GROUP},
    "GROUP",
)


# Files

_MODE = r"0?[67][0-7][0145]"
_MODE_ACCEPTED = 'octal digits in quotes such as "0600" or "0640"'


def parse_mode(value: object) -> int:
    """Permission bits, from octal digits as a text: as a number, 0640 is 416 to YAML 1.1 and 640 to 1.2."""
    if isinstance(value, Ambiguous):
        raise misread(value, "write it in quotes", value.text.replace("o", ""))
    if not isinstance(value, str):
        raise misfit(f"{shown(value)} is not a text", _MODE_ACCEPTED)
    if not re.fullmatch(r"[0-7]{3,4}", value):
        raise misfit(f"{shown(value)} is not a file mode", _MODE_ACCEPTED)
    mode = int(value, 8)
    if mode & 0o7000:
        raise misfit(f"{value} sets setuid, setgid or sticky", _MODE_ACCEPTED)
    if mode & 0o600 != 0o600:
        raise misfit(f"{value} lets its owner, the refresher, not read and write it", _MODE_ACCEPTED)
    if mode & 0o002:
        raise misfit(f"{value} lets everybody write it", _MODE_ACCEPTED)
    return mode


MODE = Kind(parse_mode, {"type": "string", "pattern": anchored(_MODE)}, "MODE", lambda mode: f"{mode:04o}")

_PATH = r"(?!~)(?!(?:.*/)?\.{0,2}$)[^\u0000-\u001f\u007f]+"
_PATH_ACCEPTED = "the path of a file, absolute or relative"


def _path(*, secretive: bool = False) -> Kind:
    """`secretive`: the value is not quoted, as somebody may have put a secret where its path belongs."""

    def parse(value: object) -> str:
        text = text_of(value, _PATH_ACCEPTED, echo=not secretive)
        given = "the value" if secretive else shown(text)
        if text.startswith("~"):
            raise ValueError(f"{given} begins with ~, which is not expanded; write the whole path")
        if len(text) > LONGEST_PATH:
            raise misfit(f"{given} is longer than {LONGEST_PATH} characters", _PATH_ACCEPTED)
        if not re.fullmatch(_PATH, text):
            problem = "names a directory" if re.search(r"(^|/)\.{0,2}$", text) and text else "is not a path"
            raise misfit(f"{given} {problem}", _PATH_ACCEPTED)
        return text

    schema = {"type": "string", "pattern": anchored(_PATH), "maxLength": LONGEST_PATH}
    return Kind(parse, schema, "FILE", is_path=True)


FILE = _path()
SECRET_FILE = _path(secretive=True)


# Templates

_TEMPLATE_ACCEPTED = f"text with {', '.join('$' + name for name in formats.PLACEHOLDERS)}"


def parse_template(value: object) -> str:
    """A `string.Template` that names the access token. Its text is not quoted: it is the user's own."""
    text = text_of(value, _TEMPLATE_ACCEPTED, echo=False)
    if len(text) > LONGEST_TEMPLATE or not _is_encodable(text):
        raise misfit(f"not a text of at most {LONGEST_TEMPLATE} characters", _TEMPLATE_ACCEPTED)
    for match in Template.pattern.finditer(text):
        if match["invalid"] is not None:
            line = text.count("\n", 0, match.start()) + 1
            raise misfit(f"a lone $ in line {line}; write $$ for a dollar", _TEMPLATE_ACCEPTED)
    names = Template(text).get_identifiers()
    for name in names:
        if name not in formats.PLACEHOLDERS:
            hint = did_you_mean(f"${name}", [f"${each}" for each in formats.PLACEHOLDERS]) or ";"
            raise ValueError(f"${plain(name)} is no placeholder{hint} accepted: {_TEMPLATE_ACCEPTED}")
    if "access_token" not in names:
        raise misfit("the token is not in it, $access_token", _TEMPLATE_ACCEPTED)
    return text


TEMPLATE = Kind(
    parse_template,
    {"type": "string", "pattern": r"\$(access_token|\{access_token\})", "maxLength": LONGEST_TEMPLATE},
    "TEXT",
)
