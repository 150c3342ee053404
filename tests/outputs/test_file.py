import json
import os
import resource
import socket
import stat
from contextlib import contextmanager

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresher import outputs
from refresher.config.output_kinds import LOCK_FILE, FileOutputSettings
from refresher.core import formats
from refresher.core.formats import Format
from refresher.core.model import Holding, SecretStr
from refresher.core.seal import Sealer
from refresher.errors import OutputError
from refresher.outputs import record
from refresher.outputs.file import FileOutput, Plan
from tests.outputs.contract import OutputContract
from tests.outputs.tokens import LIFETIME, NOW, SEALER, a_token

URL = "https://api.inlive.app"
TEMPLATE = "token = $access_token, until $expires_at\n"


def plan(path, name="token", issuer_url=URL, **others):
    template = TEMPLATE if name == "template" else None
    return Plan(str(path), issuer_url, Format(name, template), **others)


def file_output(path, name="token", **others):
    return FileOutput(plan(path, name, **others))


def record_of(path):
    return path.with_name(f".{path.name}.meta.json")


def entries_of(path):
    return json.loads(record_of(path).read_bytes())["contents"]


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def file_size_limit(most):
    """Writing beyond `most` bytes fails with EFBIG, even for root (setrlimit(2))."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class FilePlace:
    def __init__(self, path, name):
        self.path = path
        self.name = name
        self.tells_value = name != "template"

    def output(self):
        return file_output(self.path, self.name)

    def content(self):
        return self.path.read_bytes() if self.path.exists() else None

    def alter(self, content):
        self.path.write_bytes(content)

    def delete(self):
        self.path.unlink()

    def make_unreadable(self):
        self.path.unlink()
        self.path.mkdir()

    def refusing_writes(self):
        return file_size_limit(0)


class TestFileOutput(OutputContract):
    @pytest.fixture(params=formats.NAMES)
    def place(self, request, tmp_path):
        return FilePlace(tmp_path / "access-token", request.param)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "access-token"


def refusal(output, verb="write"):
    acts = {
        "write": lambda: output.write(a_token(), NOW, SEALER),
        "inspect": lambda: output.inspect(NOW),
        "dry_run": output.dry_run,
    }
    act = acts[verb]
    with pytest.raises(OutputError) as failure:
        act()
    return str(failure.value)


def test_settings_of_a_file_build_a_file_output(path):
    nowhere = outputs.Cluster(connect=pytest.fail, owner="", time_left=pytest.fail)
    settings = FileOutputSettings(str(path), "template", "<$access_token>", 0o640, str(os.getegid()))
    output = outputs.build(settings, URL, nowhere)
    output.write(a_token(), NOW, SEALER)
    assert output.name == f"file:{path}"
    assert path.read_bytes() == b"<acc3ss-1->"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert output._plan.group == str(os.getegid())


# The record


def test_the_record_contains_everything_but_secrets(path):
    file_output(path, "inlive-sdk").write(a_token(), NOW, SEALER)
    (entry,) = entries_of(path)
    assert entry == {
        "sha256": entry["sha256"],
        "format": entry["format"],
        "issued_at": "2026-11-05T10:00:00.250000Z",
        "expires_at": "2026-11-05T11:00:00.250000Z",
        "lifetime": 3600.0,
        "requested_lifetime": 3600.0,
        "key_fingerprint": a_token().facts.key_fingerprint,
        "token_fingerprint": a_token().facts.fingerprint,
        "has_refresh_token": True,
        "issuer": "https://api.inlive.app",
        "seal": entry["seal"],
    }
    proof = file_output(path, "inlive-sdk").inspect(NOW).proof
    assert proof.seal == entry["seal"]
    assert SEALER.accepts(proof)


@pytest.mark.parametrize("field", ["sha256", "issued_at", "lifetime", "requested_lifetime", "issuer"])
def test_the_seal_detects_every_change_of_a_record(path, field):
    """The times of a record decide which token is adopted. Its digest identifies the value."""
    output = file_output(path)
    output.write(a_token(1), NOW, SEALER)
    document = json.loads(record_of(path).read_text())
    (entry,) = document["contents"]
    other = {
        "sha256": {
            "sha256": record.digest(b"another"),
            "token_fingerprint": SecretStr("another").fingerprint,
        },
        "issued_at": {"issued_at": "2026-11-05T10:00:30Z", "expires_at": "2026-11-05T11:00:30Z"},
        "lifetime": {"lifetime": 1800.0, "expires_at": "2026-11-05T10:30:00.25Z"},
        "requested_lifetime": {"requested_lifetime": 7200.0},
        "issuer": {"issuer": "https://another.test"},
    }[field]
    entry |= other
    record_of(path).write_text(json.dumps(document))
    if "sha256" in other:
        path.write_bytes(b"another")
    found = output.inspect(NOW + 60.0)
    assert found.facts is not None
    assert not SEALER.accepts(found.proof)


def test_the_record_keeps_the_seal_of_the_value_in_place(path):
    other = Sealer(SecretStr("the key before"))
    output = file_output(path)
    output.write(a_token(1), NOW, other)
    before = entries_of(path)
    output.write(a_token(2), NOW, SEALER)
    assert entries_of(path)[1:] == before


@pytest.mark.parametrize("name", formats.NAMES)
def test_the_record_holds_no_secret(path, name):
    output = file_output(path, name)
    output.write(a_token(1), NOW, SEALER)
    output.write(a_token(2), NOW, SEALER)
    told = record_of(path).read_text()
    assert not [secret for secret in ("acc3ss", "r3fresh", "k3y") if secret in told]
    assert "token = " not in told  # the template belongs to the operator


def test_the_record_describes_the_value_in_place_and_the_one_before_newest_first(path):
    output = file_output(path)
    for number in (1, 2, 3):
        output.write(a_token(number), NOW, SEALER)
    described = [entry["token_fingerprint"] for entry in entries_of(path)]
    assert described == [a_token(3).facts.fingerprint, a_token(2).facts.fingerprint]


def test_the_previous_value_is_known_while_the_record_describes_it(path):
    """A kill between record and value leaves this state."""
    output = file_output(path)
    output.write(a_token(1), NOW, SEALER)
    before = path.read_bytes()
    output.write(a_token(2), NOW, SEALER)
    path.write_bytes(before)
    assert output.inspect(NOW).facts == a_token(1).facts


def test_an_altered_value_is_dropped_from_the_record(path):
    output = file_output(path)
    output.write(a_token(1), NOW, SEALER)
    path.write_bytes(b"altered")
    output.write(a_token(2), NOW, SEALER)
    assert len(entries_of(path)) == 1


def test_a_value_without_room_changes_nothing(path):
    output = file_output(path)
    output.write(a_token(1), NOW, SEALER)
    with file_size_limit(4096):  # enough for the record
        message = refusal_of_a_large_token(output)
    assert "File too large (EFBIG); raise the limit" in message
    assert len(entries_of(path)) == 1
    assert file_output(path).inspect(NOW).facts == a_token(1).facts
    assert sorted(os.listdir(path.parent)) == [record_of(path).name, LOCK_FILE, path.name]


def refusal_of_a_large_token(output):
    with pytest.raises(OutputError) as failure:
        output.write(a_token(2, size=5000), NOW, SEALER)
    return str(failure.value)


def test_a_value_that_another_writer_replaces_at_once_is_an_error(path, monkeypatch):
    rename = os.rename

    def conflicted(source, target, **directories):
        rename(source, target, **directories)
        if target == path.name:
            path.write_bytes(b"another's")

    monkeypatch.setattr(os, "rename", conflicted)
    assert "check for another writer" in refusal(file_output(path))


def test_a_value_without_a_record_has_no_known_expiry(path):
    output = file_output(path)
    output.write(a_token(), NOW, SEALER)
    record_of(path).unlink()
    assert output.inspect(NOW) == Holding()


@pytest.mark.parametrize("spoil", ["directory", "pipe", "loop", "large"])
def test_an_unreadable_record_counts_as_missing(path, spoil):
    output, record = file_output(path), record_of(path)
    output.write(a_token(), NOW, SEALER)
    content = record.read_bytes()
    record.unlink()
    match spoil:
        case "directory":
            record.mkdir()
        case "pipe":
            os.mkfifo(record)
        case "loop":
            record.symlink_to(record)
        case "large":
            record.write_bytes(content + b" " * 65536)
    assert output.inspect(NOW) == Holding()


@hypothesis.settings(deadline=None)  # a write depends on the disk
@given(garbage=st.binary())
def test_any_bytes_in_a_record_are_ignored_without_an_error(tmp_path_factory, garbage):
    path = tmp_path_factory.mktemp("any") / "access-token"
    output = file_output(path)
    output.write(a_token(), NOW, SEALER)
    record_of(path).write_bytes(garbage)
    assert output.inspect(NOW) == Holding()
    output.write(a_token(), NOW, SEALER)
    assert output.inspect(NOW).intact


def test_a_record_of_another_token_is_ignored(path):
    output = file_output(path)
    output.write(a_token(), NOW, SEALER)
    document = json.loads(record_of(path).read_bytes())
    document["contents"][0]["token_fingerprint"] = "0" * 16
    record_of(path).write_text(json.dumps(document))
    assert output.inspect(NOW) == Holding()


# A changed configuration


@pytest.mark.parametrize("before", formats.NAMES)
@pytest.mark.parametrize("after", formats.NAMES)
def test_a_value_in_another_format_is_known_but_not_intact(path, before, after):
    file_output(path, before).write(a_token(), NOW, SEALER)
    found = file_output(path, after).inspect(NOW)
    assert found.facts == a_token().facts
    assert (found.token is None) is (before == "template")
    assert found.intact is (before == after)


def test_a_changed_template_is_noticed(path):
    before = plan(path, "template")
    FileOutput(before).write(a_token(), NOW, SEALER)
    found = FileOutput(before._replace(format=Format("template", TEMPLATE + "#"))).inspect(NOW)
    assert (found.facts, found.intact) == (a_token().facts, False)


def test_another_issuer_in_the_sdk_object_is_noticed(path):
    file_output(path, "inlive-sdk").write(a_token(), NOW, SEALER)
    found = FileOutput(plan(path, "inlive-sdk", "https://elsewhere")).inspect(NOW)
    assert (found.facts, found.intact) == (a_token().facts, False)


# Permissions


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_the_mode_is_exact_with_any_umask(path, umask, mode):
    before = os.umask(umask)
    try:
        file_output(path, mode=mode).write(a_token(), NOW, SEALER)
    finally:
        os.umask(before)
    assert (mode_of(path), mode_of(record_of(path))) == (mode, mode)


@pytest.mark.parametrize("drifted", [0o400, 0o644, 0o4600])
def test_a_changed_mode_is_detected_and_repaired(path, drifted):
    output = file_output(path)
    output.write(a_token(), NOW, SEALER)
    path.chmod(drifted)
    found = output.inspect(NOW)
    assert (found.facts, found.intact) == (a_token().facts, False)
    output.write(a_token(), NOW, SEALER)
    assert output.inspect(NOW).intact


def test_a_group_can_be_given_by_number(path):
    output = file_output(path, group=str(os.getgid()))
    output.write(a_token(), NOW, SEALER)
    assert output.inspect(NOW).intact


def test_a_group_can_be_given_by_name(path):
    grp = pytest.importorskip("grp")
    output = file_output(path, group=grp.getgrgid(os.getgid()).gr_name)
    output.write(a_token(), NOW, SEALER)
    assert output.inspect(NOW).intact


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to any group")
def test_a_changed_group_is_detected_and_repaired(path):
    output = file_output(path, mode=0o640, group="4242")
    output.write(a_token(), NOW, SEALER)
    assert (path.stat().st_gid, record_of(path).stat().st_gid, mode_of(path)) == (4242, 4242, 0o640)
    os.chown(path, -1, 4243)
    found = output.inspect(NOW)
    assert (found.facts, found.intact) == (a_token().facts, False)
    output.write(a_token(), NOW, SEALER)
    assert output.inspect(NOW).intact


def test_an_unknown_group_is_refused_with_advice(path):
    output = file_output(path, group="no-group")
    message = refusal(output)
    assert "'no-group'" in message
    assert "create it, or configure the number of a group" in message
    assert not path.exists()


def test_a_number_in_another_script_is_a_name(path):
    """The configuration agrees: it does not reject the name as a number that is too large."""
    assert "has no such group" in refusal(file_output(path, group="\u0663" * 12))


def test_a_value_whose_configured_group_is_unknown_can_still_be_adopted(path):
    file_output(path).write(a_token(), NOW, SEALER)
    found = file_output(path, group="no-such-group").inspect(NOW)
    assert (found.facts, found.intact) == (a_token().facts, False)


# Links


def test_a_link_stays_a_link_and_the_record_is_beside_its_target(path, tmp_path):
    (tmp_path / "real").mkdir()
    real = tmp_path / "real" / "value"
    real.write_text("old")
    path.symlink_to(real)
    output = file_output(path)
    output.write(a_token(), NOW, SEALER)
    assert path.is_symlink()
    assert real.read_bytes() == b"acc3ss-1-"
    assert output.inspect(NOW).intact
    assert sorted(os.listdir(tmp_path)) == [path.name, "real"]
    assert sorted(os.listdir(tmp_path / "real")) == [LOCK_FILE, record_of(real).name, "value"]


def test_a_dangling_link_gets_its_target(path, tmp_path):
    path.symlink_to("value")
    output = file_output(path)
    assert output.inspect(NOW) == Holding()
    output.write(a_token(), NOW, SEALER)
    assert path.is_symlink()
    assert (tmp_path / "value").read_bytes() == b"acc3ss-1-"


def test_a_changed_link_is_followed_from_then_on(path, tmp_path):
    output = file_output(path)
    path.symlink_to("one")
    output.write(a_token(), NOW, SEALER)
    path.unlink()
    path.symlink_to("two")
    assert output.inspect(NOW) == Holding()
    output.write(a_token(2), NOW, SEALER)
    assert (tmp_path / "one").read_bytes() == b"acc3ss-1-"
    assert (tmp_path / "two").read_bytes() == b"acc3ss-2-"


def test_a_link_in_the_path_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "run").symlink_to("real")
    output = file_output(tmp_path / "run" / "access-token")
    output.write(a_token(), NOW, SEALER)
    assert output.inspect(NOW).intact


@pytest.mark.parametrize("verb", ["write", "inspect"])
def test_a_loop_of_links_is_an_error(path, verb):
    path.symlink_to(path)
    assert "(ELOOP)" in refusal(file_output(path), verb)
    assert path.is_symlink()


def test_a_hard_link_to_the_old_file_keeps_the_old_value(path, tmp_path):
    """A hard link points to the file, not to the path."""
    output = file_output(path)
    output.write(a_token(1), NOW, SEALER)
    os.link(path, tmp_path / "kept")
    output.write(a_token(2), NOW, SEALER)
    assert (tmp_path / "kept").read_bytes() == b"acc3ss-1-"


@pytest.mark.parametrize("verb", ["write", "inspect"])
@pytest.mark.parametrize(
    ("make", "code"),
    [(os.mkdir, "EISDIR"), (os.mkfifo, "EINVAL"), (lambda path: _bind(path), "EINVAL")],
    ids=["directory", "pipe", "socket"],
)
def test_anything_but_a_file_is_refused_and_kept(path, verb, make, code):
    make(path)
    before = path.lstat()
    message = refusal(file_output(path), verb)
    assert f"({code})" in message
    assert "an output is a" in message
    assert path.lstat().st_ino == before.st_ino


def _bind(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def test_a_missing_directory_reads_as_empty_and_fails_to_write(tmp_path):
    output = file_output(tmp_path / "absent" / "access-token")
    assert output.inspect(NOW) == Holding()
    output.claim()
    assert f"(ENOENT); create {tmp_path}/absent, or mount the volume there" in refusal(output)


@pytest.mark.parametrize("verb", ["write", "inspect"])
def test_a_file_instead_of_the_directory_is_an_error(tmp_path, verb):
    (tmp_path / "file").write_text("x")
    message = refusal(file_output(tmp_path / "file" / "access-token"), verb)
    assert f"(ENOTDIR); {tmp_path}/file is not a directory" in message


def test_a_dry_run_leaves_no_file(path):
    file_output(path).dry_run()
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("others", [{"group": "no-such-group"}, {}], ids=["group", "directory"])
def test_a_dry_run_is_refused_like_a_write(path, others):
    output = file_output(path if others else path / "below" / "it", **others)
    assert refusal(output, "dry_run") == refusal(output, "write")


def test_an_error_names_the_target_of_a_link(path, tmp_path):
    path.symlink_to(tmp_path / "absent" / "value")
    assert f"which leads to {tmp_path}/absent/value" in refusal(file_output(path))


def test_a_name_too_long_for_its_temporary_file_is_an_error(tmp_path):
    assert "(ENAMETOOLONG); choose a shorter name" in refusal(file_output(tmp_path / ("n" * 227)))
    file_output(tmp_path / ("n" * 226)).write(a_token(), NOW, SEALER)


def test_an_overlong_value_is_read_up_to_the_limit(path):
    output = file_output(path)
    output.write(a_token(), NOW, SEALER)
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # a terabyte, on paper
    assert output.inspect(NOW) == Holding()


@hypothesis.settings(deadline=None)  # as above
@given(content=st.binary())
def test_any_other_content_is_ignored(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "access-token"
    output = file_output(path)
    output.write(a_token(), NOW, SEALER)
    path.write_bytes(content)
    assert (output.inspect(NOW) == Holding()) is (content != b"acc3ss-1-")


def test_expires_in_of_json_counts_from_the_write(path):
    file_output(path, "json").write(a_token(), NOW + 600, SEALER)
    assert json.loads(path.read_bytes())["expires_in"] == LIFETIME - 600
