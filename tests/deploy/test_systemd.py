"""The units in deploy/systemd: systemd accepts them, and they allow only what the refresher needs."""

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from refresher.cli import build_parser
from refresher.config.durations import parse_duration
from refresher.core.model import SecretStr, Token
from refresher.core.seal import Sealer
from refresher.emulator.server import Emulator
from refresher.errors import OutputError
from refresher.outputs.file import FileOutput, Plan
from refresher.status.liveness import HANGS_AFTER
from tests import needs
from tests.commands.daemon import KEY
from tests.core.builders import NOW, token
from tests.deploy.units import HARDENING, INSTALLED, SERVICES, SYSTEMD, allowed_calls, command, settings

TMPFILES = (SYSTEMD / "tmpfiles.conf").read_text()
MOST_EXPOSED = 2.0  # of 10; below 2 systemd calls it "OK", and the network that is needed is most of it


def analyzed(*words: str) -> subprocess.CompletedProcess[str]:
    ask = [needs.tool("systemd-analyze"), *words]
    return subprocess.run(ask, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as an administrator installs them, with the path of the program on this machine."""
    place = tmp_path / "system"
    shutil.copytree(SYSTEMD, place)
    for unit in place.glob("*.service"):
        unit.write_text(unit.read_text().replace(INSTALLED, str(Path(sys.executable).with_name("refresher"))))
    return place


def test_systemd_accepts_every_unit_without_a_warning(installed):
    units = [str(path) for path in sorted(installed.glob("*.*")) if path.suffix in (".service", ".timer")]
    assert len(units) == 5
    done = analyzed("verify", *units)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_error_in_the_shared_drop_in_is_detected(installed):
    """systemd reads the drop-in there."""
    shared = installed / HARDENING.relative_to(SYSTEMD)
    shared.write_text(shared.read_text().replace("ProtectHome=yes", "ProtectHome=maybe"))
    assert "protect home" in analyzed("verify", str(installed / SERVICES[0])).stderr


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_little_exposed(service):
    told = analyzed("security", "--offline=yes", "--no-pager", str(SYSTEMD / service)).stdout
    (exposure,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", told)
    assert float(exposure) <= MOST_EXPOSED


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_calls_the_refresher_with_valid_arguments(service):
    arguments = build_parser().parse_args(command(service))
    assert arguments.key_file == "%d/application-key"
    assert settings(HARDENING)["LoadCredential"] == ["application-key:/etc/inlive/application-key"]
    assert settings(HARDENING)["ReadWritePaths"] == [os.path.dirname(arguments.to_file[0])]
    assert [arguments.group] == settings(HARDENING)["SupplementaryGroups"]


def test_the_timer_runs_at_the_documented_interval():
    """By the calendar, because a monotonic timer pauses while the machine sleeps (systemd.timer(5))."""
    timer = settings(SYSTEMD / "inlive-token-once.timer")
    told = analyzed("calendar", "--iterations=2", "--base-time=2026-01-01 00:00:00 UTC", *timer["OnCalendar"])
    first, second = (
        datetime.fromisoformat(each)
        for each in re.findall(r"(20[-0-9]+ [0-9:]+) UTC$", told.stdout, re.MULTILINE)
    )
    late = parse_duration(*timer["AccuracySec"])
    every = parse_duration(build_parser().parse_args(command("inlive-token-once.service")).every)
    assert (second - first).total_seconds() + late <= every
    assert timer["OnActiveSec"] == ["0"]


def test_the_watchdog_has_the_time_out_of_livez():
    assert settings(SYSTEMD / "inlive-token-refresher.service")["WatchdogSec"] == [f"{HANGS_AFTER:g}s"]


def test_the_template_has_the_rights_of_the_daemon_and_a_key_of_its_own():
    own = SYSTEMD / "inlive-token@.service.d"
    assert (own / "hardening.conf").read_text() == HARDENING.read_text()
    assert sorted(path.name for path in own.iterdir())[-1] == "key.conf"  # the last drop-in counts
    assert settings(own / "key.conf")["LoadCredential"] == ["", "application-key:/etc/inlive/%i.key"]
    template, daemon = (settings(SYSTEMD / name) for name in ("inlive-token@.service", SERVICES[0]))
    differ = {key for key in template.keys() | daemon.keys() if template.get(key) != daemon.get(key)}
    assert differ == {"Description", "EnvironmentFile", "ExecReload", "ExecStart"}
    arguments = build_parser().parse_args(command("inlive-token@.service"))
    assert (arguments.token_name, arguments.to_file) == ("%i", ["/run/inlive/%i"])


def test_a_failed_unit_starts_the_alarm_which_needs_no_key():
    for service in (*SERVICES, "inlive-token@.service"):
        assert settings(SYSTEMD / service)["OnFailure"] == ["inlive-alarm@%n.service"]
    shared = [path.name.removesuffix(".service.d") for path in SYSTEMD.glob("*-.service.d")]
    assert [name for name in shared if "inlive-alarm@.service".startswith(name)] == []
    assert "LoadCredential" not in settings(SYSTEMD / "inlive-alarm@.service")


# --- The units allow enough: real system calls, users and groups


def test_systemd_creates_the_users(tmp_path):
    """A user that no other service has, and a group of readers."""
    (tmp_path / "etc").mkdir()
    made = subprocess.run(
        [needs.tool("systemd-sysusers"), f"--root={tmp_path}", str(SYSTEMD / "sysusers.conf")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    users = [line.split(":")[0] for line in (tmp_path / "etc" / "passwd").read_text().splitlines()]
    groups = [line.split(":")[0] for line in (tmp_path / "etc" / "group").read_text().splitlines()]
    shared = settings(HARDENING)
    assert users == shared["User"]
    assert sorted(groups) == sorted(shared["User"] + shared["SupplementaryGroups"])
    assert f" root {shared['User'][0]} -" in TMPFILES


def another_group() -> int:
    """A group that we may give a file to, and that a new file does not have."""
    ours = {*os.getgroups(), *((1,) if os.geteuid() == 0 else ())} - {os.getgid()}
    return min(ours) if ours else pytest.skip("needs a user that is in two groups")


def traced(place: Path, *words: str) -> str:
    """The system calls of ``refresher WORDS…`` from its start to its end, with one token."""
    (place / "key").write_text(KEY)
    trace = place / "trace"
    files = ["--key-file=key", "--to-file=token", "--mode=0640", f"--group={another_group()}"]
    with Emulator(keys=[KEY]) as issuer:
        program = [str(Path(sys.executable).with_name("refresher")), *words, *files]
        program.append(f"--issuer-url=http://localhost:{issuer.url.rpartition(':')[2]}")
        ask = [needs.tool("strace"), "--follow-forks", "--quiet=all", f"--output={trace}", *program]
        with subprocess.Popen(ask, cwd=place, stderr=subprocess.PIPE, text=True) as process:
            for entry in process.stderr or ():
                if words[0] == "run" and '"OutputWritten"' in entry:
                    os.kill(int(trace.read_text().split()[0]), signal.SIGTERM)
        assert process.returncode == 0
        assert issuer.valid((place / "token").read_text())
    return trace.read_text()


@pytest.mark.parametrize(
    "words", [("run", "--listen=127.0.0.1:0"), ("once", "--every=11m")], ids=["run", "once"]
)
def test_no_forbidden_system_call_is_made(tmp_path, words):
    told = traced(tmp_path, *words)
    made = set(re.findall(r"^[0-9]+ +(\w+)\(", told, re.MULTILINE))
    assert {"openat", "connect", "renameat", "fsync", "fchown", "prlimit64"} <= made
    assert made - allowed_calls() == set()
    families = set(re.findall(r"\bsocket\((AF_\w+)", told))
    assert families <= set(settings(HARDENING)["RestrictAddressFamilies"][0].split())
    assert "PROT_WRITE|PROT_EXEC" not in told  # MemoryDenyWriteExecute=


def done_by(user: int, groups: list[int], deed: Callable[[], object]) -> bool:
    """Whether a user with this number and only these groups can do `deed`."""
    child = os.fork()
    if child == 0:
        os.setgroups(groups)
        os.setgid(groups[0])
        os.setuid(user)
        code = 2  # this copy of the test run must end here
        try:
            deed()
            code = 0
        except (OSError, OutputError):
            code = 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def adoptable(output: FileOutput) -> None:
    """Raises OSError unless the refresher would adopt the token there."""
    if output.inspect(NOW).token is None:
        raise OSError


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can switch users")
def test_the_first_group_publishes_and_the_second_reads():
    """In a directory that tmpfiles.conf creates. The user's number may change at a restart."""
    writers, readers, nobody = 61001, 61002, 61003
    (mode,) = re.findall(r"^d /run/inlive ([0-7]+) root inlive-refresher -$", TMPFILES, re.MULTILINE)
    with tempfile.TemporaryDirectory() as place:
        os.chown(place, 0, writers)
        os.chmod(place, int(mode, 8))
        path = Path(place, "access-token")
        output = FileOutput(Plan(str(path), "https://inlive.test", mode=0o640, group=str(readers)))
        access = SecretStr("access")
        published = Token(token().facts._replace(fingerprint=access.fingerprint), access)

        def publish() -> None:
            output.write(published, NOW, Sealer(access))

        assert done_by(61010, [writers, readers], publish)
        assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_gid) == (0o640, readers)
        assert done_by(61011, [writers, readers], lambda: adoptable(output))
        assert done_by(61011, [writers, readers], publish)
        assert done_by(61012, [readers], path.read_bytes)
        assert not done_by(61012, [readers], publish)
        assert not done_by(61013, [nobody], path.read_bytes)
        assert not done_by(61013, [nobody], publish)
