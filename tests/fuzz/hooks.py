"""What hooks read: pid files, and the output of commands."""

import re
from collections.abc import Iterator

from refresher.config.hooks import PidFileSignal
from refresher.errors import HookError
from refresher.hooks import Subject
from refresher.hooks.command import LONGEST_SHOWN, Command
from refresher.hooks.signal import Signal
from refresher.logs.redaction import SecretIndex
from tests.fuzz.files import written
from tests.fuzz.target import KEY, Target, a_token, expect_printable

_SECRETS = (KEY, a_token().access)
_KNOWN = SecretIndex()
_KNOWN.hold("studio", _SECRETS)
_COMMAND = Command(("true",), Subject("studio", "output"), _KNOWN.blot_out)
_FITS = f"(?s).{{0,{LONGEST_SHOWN}}}…?"


def pid_file(octets: bytes) -> None:
    """No signal is sent: a check only asks whether it may be."""
    path = written("pid", octets)
    try:
        did = Signal(PidFileSignal(path)).check(offline=False)
    except HookError as error:
        expect_printable(str(error))
    else:
        assert did == f"would send SIGHUP to process {int(octets)}, from {path}"


def command_output(octets: bytes) -> None:
    said = _COMMAND._shown(octets)
    expect_printable(said)
    assert re.fullmatch(_FITS, said)
    for secret in _SECRETS:
        assert secret.reveal() not in said


def _outputs() -> Iterator[bytes]:
    secret = KEY.reveal().encode()
    yield b"nginx: [emerg] \x1b[31mcannot\x1b[0m \xff\xe2\x80\xa8 open\r\n"
    yield b"key=" + secret + b"\n" + secret.hex().encode()
    yield b"x" * 490 + b" " + secret


TARGETS = {
    "pid-file": Target(
        pid_file,
        lambda: [b"1\n", b"0", b" 12 ", b"4194305", b"9999999999", b"99999999999", b"-1", b"1\0", b"\xb2"],
        ("\n", " ", "4194304", "2147483648", "18446744073709551616"),
    ),
    "command-output": Target(command_output, _outputs, (KEY.reveal(), "\\x1b[", "\n", "%5a", "=")),
}
