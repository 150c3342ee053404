"""The running image, as in deploy/: a read-only file system, no rights, a user without a name."""

import json
import subprocess
from urllib.parse import urlsplit

from refresher import exit_codes
from refresher.emulator.server import Emulator
from refresher.kube.api import SERVICE_ACCOUNT
from refresher.kube.paths import secret_path
from tests.commands.daemon import STOP_WITHIN, eventually
from tests.image.engine import IMAGE, RESTRICTED, Engine

VOLUME = "/run/inlive"
USER = 12345


def words(issuer: Emulator) -> tuple[str, ...]:
    return (f"--key-file={VOLUME}/key", f"--issuer-url={issuer.url}", f"--to-file={VOLUME}/access-token")


def options(place) -> tuple[str, ...]:
    """Options for a container that reaches an emulator on this machine, and a volume."""
    return (*RESTRICTED, "--network=host", f"--volume={place}:{VOLUME}")


def written(engine: Engine, place) -> tuple[str, str]:
    """Owner, mode and content of the token's file, as root in a container sees them: without root
    outside, users have other numbers there."""
    look = f"stat -c '%u %a' {VOLUME}/access-token; cat {VOLUME}/access-token"
    volume = f"--volume={place}:{VOLUME}:ro"
    ended = engine.run("--network=none", "--user=0", volume, "--entrypoint=sh", IMAGE, "-c", look)
    assert ended.returncode == 0, ended.stderr
    owner, _, content = ended.stdout.partition("\n")
    return owner, content


def test_the_demo_succeeds(engine):
    ended = engine.run(*RESTRICTED, "--network=none", "--tmpfs=/tmp", IMAGE, "demo")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "The end" in ended.stdout


def test_the_tests_run_it_as_deploy_does(engine):
    look = "id -u; cat /proc/self/status; ! touch /opt/refresher/x /tmp/x"
    ended = engine.run(*RESTRICTED, "--network=none", "--entrypoint=sh", IMAGE, "-c", look)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"{USER}\n")
    status = dict(line.split(":\t") for line in ended.stdout.splitlines() if ":\t" in line)
    assert {status[name] for name in ("CapPrm", "CapEff", "CapBnd")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert ended.stderr.count("Read-only file system") == 2


def test_once_writes_to_a_volume(engine, issuer, place):
    ended = engine.run(*options(place), IMAGE, "once", *words(issuer))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert issuer.counts.issued == 1
    owner, token = written(engine, place)
    assert owner == f"{USER} 600"
    assert issuer.valid(token)


def test_the_user_of_the_image_is_the_user_of_the_manifests(engine, issuer, place):
    as_it_is = [each for each in options(place) if not each.startswith("--user")]
    assert engine.run(*as_it_is, IMAGE, "once", *words(issuer)).returncode == 0
    assert written(engine, place)[0] == "65532 600"


def test_the_daemon_is_process_1_and_stops_as_promised(engine, issuer, place):
    name = "daemon"
    command = engine.running(f"--name={name}", *options(place), IMAGE, "run", *words(issuer))
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as daemon:
        try:
            eventually((place / "access-token").exists, "a token")
            (first,) = engine(
                "exec", name, "sh", "-c", "tr '\\0' '\\n' </proc/1/cmdline | grep bin/refresher"
            ).split()
            assert first == "/opt/refresher/bin/refresher"
            engine("exec", name, "refresher", "wait", *words(issuer)[2:], "--timeout=5s")
            engine("kill", "--signal=TERM", name)
            assert daemon.wait(STOP_WITHIN) == 0  # the container's exit code
        finally:
            daemon.kill()


def test_the_reduced_kubernetes_client_writes_a_secret(engine, issuer, place, cluster, namespace):
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "patch", "create"]}]
    account = cluster.service_account(namespace, "image", rules)
    for path in (account.directory, *account.directory.iterdir()):
        path.chmod(0o755)
    api = urlsplit(cluster.url)
    pod = [f"--env=KUBERNETES_SERVICE_HOST={api.hostname}", f"--env=KUBERNETES_SERVICE_PORT={api.port}"]
    pod += [f"--volume={account.directory}:{SERVICE_ACCOUNT}:ro"]
    ended = engine.run(*options(place), *pod, IMAGE, "once", *words(issuer)[:2], "--to-secret=token")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "access-token" in cluster.ask("GET", secret_path(namespace, "token")).json()["data"]


def test_the_reduced_kubernetes_client_reads_a_kubeconfig(engine, issuer, place):
    unreachable = {
        "current-context": "none",
        "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
        "clusters": [{"name": "none", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "none", "user": {"token": "none"}}],
    }
    (place / "kubeconfig").write_text(json.dumps(unreachable))
    variable = f"--env=KUBECONFIG={VOLUME}/kubeconfig"
    ended = engine.run(*options(place), variable, IMAGE, "check", *words(issuer)[:2], "--to-secret=token")
    assert ended.returncode == exit_codes.CANT_CREATE
    assert "API server 127.0.0.1:1: Connection refused" in ended.stdout, ended.stdout + ended.stderr
    assert not ended.stderr
