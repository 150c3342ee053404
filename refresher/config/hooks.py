"""Options of hooks: what runs after an output was written (`after`)."""

import re
from typing import Annotated, NamedTuple

from refresher.config import addresses
from refresher.config.options import Option
from refresher.config.quoting import described, shown
from refresher.config.value_types import UnquotedError, ValueType, anchored, choice, not_accepted, text_of

SIGNALS = ("HUP", "USR1", "USR2", "WINCH", "INT", "QUIT", "TERM")
MOST_ARGUMENTS = 64
LONGEST_ARGUMENT = 4096  # characters

_SIGNAL = choice("signal", SIGNALS, "SIGNAL", fold=lambda text: text.upper().removeprefix("SIG"))
_NAME = r"[A-Za-z0-9_.:@+\-]{1,15}"  # the kernel keeps 15 characters (TASK_COMM_LEN in proc(5))
_NAME_ACCEPTED = "1 to 15 of a-z, A-Z, 0-9 and _.:@+-, as in /proc/PID/comm"


def _parse_process(value: object) -> str:
    text = text_of(value, _NAME_ACCEPTED)
    if not re.fullmatch(_NAME, text):
        raise not_accepted(f"{shown(text)} is not the name of a process", _NAME_ACCEPTED)
    return text


_PROCESS = ValueType(_parse_process, {"type": "string", "pattern": anchored(_NAME)}, "NAME")

_COMMAND = r"/[^\u0000]*[^\u0000/]|[^\u0000/]+"
_COMMAND_ACCEPTED = (
    "a list of texts, such as [nginx, -s, reload]; the first is an absolute path or a name to find in PATH"
)


def _parse_command(value: object) -> tuple[str, ...]:
    """Command and arguments. No shell ever reads them."""
    if not isinstance(value, list) or not 0 < len(value) <= MOST_ARGUMENTS:
        given = f"a list of {len(value)}" if isinstance(value, list) else described(value)
        raise not_accepted(f"{given} is given", _COMMAND_ACCEPTED)
    arguments = []
    for number, item in enumerate(value, start=1):
        try:
            argument = text_of(item, _COMMAND_ACCEPTED)
        except UnquotedError as error:  # quotes around the item solve it, not around the list
            raise ValueError(f"item {number}: {error}") from error
        if len(argument) > LONGEST_ARGUMENT or "\0" in argument:
            raise not_accepted(f"item {number} is no argument", f"{LONGEST_ARGUMENT} characters, no NUL")
        arguments.append(argument)
    if not re.fullmatch(_COMMAND, arguments[0]):
        raise not_accepted(f"{shown(arguments[0])} is not a command", _COMMAND_ACCEPTED)
    return tuple(arguments)


_ARGUMENT = {"type": "string", "maxLength": LONGEST_ARGUMENT, "pattern": anchored(r"[^\u0000]*")}
_ARGUMENTS = ValueType(
    _parse_command,
    {
        "type": "array",
        "minItems": 1,
        "maxItems": MOST_ARGUMENTS,
        "prefixItems": [_ARGUMENT | {"pattern": anchored(_COMMAND)}],
        "items": _ARGUMENT,
    },
    "",
    list,
    redacted=lambda command: [command[0], *["…"] * (len(command) > 1)],
)


_SIGNAL_NAME = Option("The signal to send.", _SIGNAL, example="HUP", key="name")


class PidFileSignal(NamedTuple):
    pid_file: Annotated[
        str,
        Option(
            "File with the number of the process. Root or the refresher's user must own it.",
            addresses.FILE,
            example="/run/nginx.pid",
        ),
    ]
    signal: Annotated[str, _SIGNAL_NAME] = "HUP"


class ProcessSignal(NamedTuple):
    process: Annotated[
        str,
        Option(
            "Name of the process, as /proc/PID/comm has it. Its children of the same name get no signal.",
            _PROCESS,
            example="nginx",
        ),
    ]
    signal: Annotated[str, _SIGNAL_NAME] = "HUP"


class SignalHook(NamedTuple):
    signal: Annotated[
        PidFileSignal | ProcessSignal,
        Option("Send a signal to a process.", sections=(PidFileSignal, ProcessSignal)),
    ]


class ExecHook(NamedTuple):
    command: Annotated[
        tuple[str, ...],
        Option(
            "Run a command, without a shell, for at most 30 s.",
            _ARGUMENTS,
            example=["nginx", "-s", "reload"],
            key="exec",
        ),
    ]


class HttpHook(NamedTuple):
    url: Annotated[
        str,
        Option(
            "Send a POST request to this URL of this machine; 2xx is success.",
            addresses.LOOPBACK_URL,
            example="http://127.0.0.1:8080/reload",
            key="http",
        ),
    ]


HookSettings = SignalHook | ExecHook | HttpHook
AFTER = Option(
    "What to do after each write, so that a consumer reads the new token. Not done for an adopted token.",
    sections=(SignalHook, ExecHook, HttpHook),
)
