"""A real cron daemon runs the crontab in deploy/cron for a minute."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from refresher.cli import build_parser
from refresher.commands.once import EXAMPLE
from refresher.config.loader import load
from refresher.emulator.server import Emulator
from tests import needs
from tests.commands.daemon import KEY, eventually
from tests.issuer.peer import answering, peer

README = Path(__file__).parents[2] / "README.md"
CRONTAB = Path(__file__).parents[2] / "deploy" / "cron" / "inlive-token"
WITH_ALARMS = CRONTAB.with_name("inlive-token-alarms")
WITHIN = 70.0  # seconds: cron starts what is due at the beginning of a minute

# Private directories for the cron daemon of this test.
CRON_ALONE = """\
mount -t tmpfs none /var/spool/cron && mkdir /var/spool/cron/crontabs
mount -t tmpfs none /etc/cron.d && cp "$1" /etc/cron.d/inlive-token && chmod 0644 /etc/cron.d/inlive-token
mount --bind /dev/null /etc/crontab
mount -t tmpfs none /run && exec "$2" -f
"""


def variables() -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)$", CRONTAB.read_text(), re.MULTILINE))


def test_each_line_calls_the_refresher_with_valid_arguments():
    given = variables()
    calls = re.findall(r'^\S.* inlive +"\$REFRESHER" (once .*?) 2>&1 \|', CRONTAB.read_text(), re.MULTILINE)
    assert len(calls) == 2
    for call in calls:
        arguments = build_parser().parse_args(shlex.split(call))
        found = load(vars(arguments), given, "/")
        assert found.settings.tokens[0].key_file == "/etc/inlive/application-key"
        assert found.warnings == ()


def shown() -> list[str]:
    """The lines of a crontab in the README and the help, without their times."""
    texts = (README.read_text(), EXAMPLE)
    return [
        one[1] for text in texts for one in re.finditer(r"^ *\*/10 \* \* \* \* +(.*)$", text, re.MULTILINE)
    ]


@pytest.mark.parametrize("line", shown(), ids=["README", "help"])
def test_a_documented_line_works_under_cron_and_prints_nothing(line, tmp_path):
    program, words = line.split(" ", 1)
    assert f"python3 -m venv {os.path.dirname(os.path.dirname(program))} &&" in README.read_text()
    (tmp_path / "key").write_text(KEY)
    with Emulator(keys=[KEY]) as issuer:
        token = {"name": "t", "key_file": "key", "outputs": [{"file": "access-token"}]}
        configuration = {"issuer": {"url": issuer.url}, "tokens": [token]}
        (tmp_path / "refresher.yaml").write_text(json.dumps(configuration))
        words = re.sub("/etc/inlive|/var/lib/inlive", str(tmp_path), words)
        call = f"{Path(sys.executable).with_name('refresher')} {words}"
        environ = {"PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", "HOME": "/", "LOGNAME": "root"}
        if "--config" not in words:
            environ["REFRESHER_ISSUER_URL"] = issuer.url
        for _ in range(2):
            ended = subprocess.run(["/bin/sh", "-c", call], env=environ, capture_output=True, check=False)
            assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
        assert issuer.valid((tmp_path / "access-token").read_text())
        assert issuer.counts.mints == 1


@pytest.mark.parametrize("refused", [False, True], ids=["success", "failure"])
def test_only_a_good_pass_reports_to_the_dead_mans_switch(tmp_path, refused):
    """The line of the crontab with alarms, run by a shell as cron does; and the metrics of the pass."""
    given = dict(re.findall(r'^(\w+)="?(.*?)"?$', WITH_ALARMS.read_text(), re.MULTILINE))
    (line,) = re.findall(
        r"^[*]/10 .*? inlive +(.*) [|] logger -t inlive-token$", WITH_ALARMS.read_text(), re.MULTILINE
    )
    (tmp_path / "key").write_text("another-key-0000" if refused else KEY)
    with Emulator(keys=[KEY]) as issuer, peer(answering(200)) as switch:
        ours = {
            "REFRESHER": str(Path(sys.executable).with_name("refresher")),
            "REFRESHER_KEY_FILE": str(tmp_path / "key"),
            "REFRESHER_TO_FILE": str(tmp_path / "token"),
            "REFRESHER_ISSUER_URL": issuer.url,
            "METRICS": str(tmp_path / "inlive.prom"),
            "DEAD_MAN_URL": switch.url,
            "PATH": "/usr/bin:/bin",
        }
        needs.tool("curl")
        done = subprocess.run(
            ["/bin/sh", "-c", line], env={**given, **ours}, capture_output=True, text=True, check=False
        )
    assert len(switch.requests) == (0 if refused else 1), done.stdout
    assert (
        f'token_refresher_once_success{{token="default"}} {int(not refused)}'
        in (tmp_path / "inlive.prom").read_text()
    )
    assert ("refuses the key" in done.stdout) == refused


@contextmanager
def cron(crontab: Path) -> Iterator[None]:
    """A cron daemon with only this crontab."""
    call = ["unshare", "--mount", "sh", "-ec", CRON_ALONE, "sh", str(crontab), needs.tool("cron")]
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield
        finally:
            process.kill()


def may_mount() -> bool:
    """Whether we can mount directories for one process only. Root can, in most containers too."""
    ask = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return os.geteuid() == 0 and subprocess.run(ask, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not may_mount(), reason="cron is root's, and needs directories of its own")
def test_a_real_cron_publishes_a_token(tmp_path):
    """For one minute, at cron's shortest period, with another user, program, key, file and log."""
    log = tmp_path / "log"
    (tmp_path / "key").write_text(KEY)
    with Emulator(keys=[KEY]) as issuer:
        ours = {
            "REFRESHER": str(Path(sys.executable).with_name("refresher")),
            "REFRESHER_KEY_FILE": str(tmp_path / "key"),
            "REFRESHER_TO_FILE": str(tmp_path / "token"),
        }
        text = CRONTAB.read_text().replace("*/10 *", "* *").replace("@reboot", "#")
        for name, value in ours.items():
            text = re.sub(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
        text = text.replace(" inlive ", " root ")
        text = text.replace("logger -t inlive-token", f"cat >{log}")
        more = f"REFRESHER_ISSUER_URL={issuer.url}\nREFRESHER_LOG_LEVEL=info\n"
        text = text.replace("SHELL=", f"{more}SHELL=")
        crontab = tmp_path / "crontab"
        crontab.write_text(text)
        with cron(crontab):
            eventually((tmp_path / "token").exists, "cron publishes a token", WITHIN)
            eventually(lambda: "wrote file:" in log.read_text(), "it is logged")
        assert issuer.valid((tmp_path / "token").read_text())
        assert KEY not in log.read_text()
