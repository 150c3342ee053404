"""Files that have not changed are not read again, and no change is missed."""

import os
import resource
import shutil
import time
from contextlib import contextmanager

import pytest

from refresher.config.output_kinds import record_path
from refresher.core.formats import Format
from refresher.core.instant import Instant
from refresher.core.model import Holding
from refresher.errors import OutputError
from refresher.outputs.file import FileOutput, Plan
from refresher.outputs.permissions import Permissions
from refresher.outputs.unchanged import SETTLED, Condition, LastReading
from tests.outputs.tokens import NOW, SEALER, a_token

BEFORE, AFTER = (Condition(status, Permissions(0o600)) for status in (b"before", b"after"))


def holding(number=1):
    token = a_token(number)
    return Holding(token.facts, token, intact=True)


@contextmanager
def nothing_can_be_opened():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def await_tick(folder):
    """Wait until the file system gives new changes another time than it gave the last one."""
    probe, deadline = folder / "probe", time.monotonic() + 10
    probe.write_bytes(b"")
    first = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == first:
        assert time.monotonic() < deadline
        probe.write_bytes(b"")


@pytest.fixture
def known(tmp_path):
    """An output whose files were read and need not be read again, and its path."""
    path = tmp_path / "token"
    output = FileOutput(Plan(str(path), "https://api.inlive.app", Format("token")))
    output.write(a_token(), NOW, SEALER)
    for seconds in (0, 30):
        assert output.inspect(NOW + seconds).intact
    await_tick(tmp_path)
    return output, path


def test_unchanged_files_are_not_read_again(known):
    output, _ = known
    with nothing_can_be_opened():
        found = output.inspect(NOW + 60)
    assert found.intact
    assert found.token.access == a_token().access


def test_files_are_read_again_soon_after_they_were_first_seen(tmp_path):
    output = FileOutput(Plan(str(tmp_path / "token"), "https://api.inlive.app", Format("token")))
    output.write(a_token(), NOW, SEALER)
    output.inspect(NOW)
    with nothing_can_be_opened(), pytest.raises(OutputError):
        output.inspect(NOW + SETTLED)


def overwrite(path):
    path.write_bytes(path.read_bytes()[::-1])


def overwrite_and_restore_the_time(path):
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    overwrite(path)
    os.utime(path, ns=times)


def replace(path):
    other = path.with_name("other")
    other.write_bytes(path.read_bytes()[::-1])
    other.chmod(0o600)
    other.rename(path)


def alter_the_record(path):
    record = path.with_name(os.path.basename(record_path(str(path))))
    record.write_bytes(record.read_bytes().replace(b'"lifetime"', b'"lifetimE"'))


def delete_the_record(path):
    os.unlink(record_path(str(path)))


CHANGES = (
    overwrite,
    overwrite_and_restore_the_time,
    replace,
    alter_the_record,
    delete_the_record,
    os.unlink,
    lambda path: path.chmod(0o644),
)


@pytest.mark.parametrize("change", CHANGES)
def test_the_next_inspection_sees_a_change(known, change):
    output, path = known
    change(path)
    assert not output.inspect(NOW + 60).intact


def move_the_directory(path):
    os.rename(path.parent, f"{path.parent}-elsewhere")


def lead_elsewhere(path):
    """A link of the configuration leads to another directory with the same files."""
    shutil.copytree(path.parent, f"{path.parent}-copy")
    move_the_directory(path)
    path.parent.symlink_to(f"{path.parent}-copy")


@pytest.mark.parametrize("change", [*CHANGES, move_the_directory, lead_elsewhere])
def test_a_comparison_reports_a_change_until_an_inspection_has_seen_it(known, change):
    output, path = known
    assert output.inspect(NOW + 60).watched
    assert not output.has_changed()
    change(path)
    assert [output.has_changed(), output.has_changed()] == [True, True]
    output.inspect(NOW + 90)
    output.inspect(NOW + 120)
    assert not output.has_changed()


def test_an_output_that_may_still_change_unseen_is_not_watched(tmp_path):
    output = FileOutput(Plan(str(tmp_path / "token"), "https://api.inlive.app", Format("token")))
    output.write(a_token(), NOW, SEALER)
    assert not output.inspect(NOW).watched
    assert not output.inspect(NOW + (SETTLED - 0.1)).watched
    assert not output.has_changed()
    assert output.inspect(NOW + SETTLED).watched


def test_a_write_of_our_own_is_seen_like_a_change_and_then_no_more(known):
    output, _ = known
    output.inspect(NOW + 60)
    output.write(a_token(2), NOW + 70, SEALER)
    found = [output.inspect(NOW + seconds) for seconds in (100, 130)]
    assert [(each.intact, each.watched) for each in found] == [(True, False), (True, True)]
    assert not output.has_changed()


def test_a_request_beside_unchanged_files_is_seen(known):
    output, _ = known
    output.request_refresh(NOW.wall + 50)
    assert output.inspect(NOW + 60).refresh_requested == pytest.approx(NOW.wall + 50, abs=0.001)


@pytest.mark.parametrize(("seconds", "is_kept"), [(0, False), (SETTLED - 0.1, False), (SETTLED, True)])
def test_a_reading_counts_if_no_later_change_can_have_the_same_time(seconds, is_kept):
    last = LastReading()
    last.holding(BEFORE, NOW)
    last.kept(BEFORE, holding(), NOW + seconds)
    assert last.holding(BEFORE, NOW + 60) == (holding()._replace(watched=True) if is_kept else None)


def test_a_change_forgets_the_reading_also_if_it_is_undone():
    last = LastReading()
    last.holding(BEFORE, NOW)
    last.kept(BEFORE, holding(), NOW + 30)
    assert last.holding(AFTER, NOW + 60) is None
    assert last.holding(BEFORE, NOW + 90) is None


def test_a_late_reading_of_another_condition_is_dropped():
    last = LastReading()
    last.holding(BEFORE, NOW)
    last.holding(AFTER, NOW + 30)
    last.kept(BEFORE, holding(), NOW + 60)
    assert last.holding(BEFORE, NOW + 90) is None


def test_a_remembered_token_has_the_age_that_its_files_state():
    """A wall clock that was wrong at the reading makes no token older for good."""
    last = LastReading()
    last.holding(BEFORE, NOW)
    last.kept(BEFORE, holding(), NOW + 30)
    set_back = Instant(NOW.wall + 60 - 1000, NOW.boot + 60)
    found = last.holding(BEFORE, set_back)
    assert found.facts.issued.wall == holding().facts.issued.wall
    assert found.facts.issued.age(set_back) == pytest.approx(holding().facts.issued.age(NOW + 60) - 1000)
    assert found.token.facts == found.facts


def test_what_is_known_is_in_memory_once():
    reading, kept = LastReading(), holding()
    reading.holding(BEFORE, NOW)
    kept = reading.kept(BEFORE, kept, NOW + SETTLED)
    assert reading.holding(BEFORE, NOW + 60) is kept
