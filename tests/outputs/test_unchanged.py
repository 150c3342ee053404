"""A comparison misses no change, and an inspection reads the files."""

import os
import shutil
import time

import pytest

from refresher.config.output_kinds import record_path
from refresher.core.formats import Format
from refresher.outputs.file import FileOutput, Plan
from refresher.outputs.unchanged import SETTLED, LastReading
from tests.outputs.tokens import NOW, SEALER, a_token

BEFORE, AFTER = b"before", b"after"


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
    """An output that need not be inspected until it changes, and its path."""
    path = tmp_path / "token"
    output = FileOutput(Plan(str(path), "https://api.inlive.app", Format("token")))
    output.write(a_token(), NOW, SEALER)
    for seconds in (0, 30):
        assert output.inspect(NOW + seconds).intact
    await_tick(tmp_path)
    return output, path


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


def reading(last, condition, at):
    """Whether a reading counts that begins at `at` and finds this condition."""
    last.begins(condition, at)
    return last.counts(condition, at)


@pytest.mark.parametrize(("seconds", "counts"), [(0, False), (SETTLED - 0.1, False), (SETTLED, True)])
def test_a_reading_counts_if_no_later_change_can_have_the_same_time(seconds, counts):
    last = LastReading()
    last.begins(BEFORE, NOW)
    assert reading(last, BEFORE, NOW + seconds) == counts
    assert last.has_changed(lambda: AFTER) == counts


def test_after_a_change_that_was_undone_a_reading_does_not_count_yet():
    last = LastReading()
    last.begins(BEFORE, NOW)
    assert reading(last, BEFORE, NOW + 30)
    assert not reading(last, AFTER, NOW + 60)
    assert not reading(last, BEFORE, NOW + 90)
    assert not last.has_changed(lambda: AFTER)


def test_a_reading_does_not_count_if_another_thread_has_seen_another_condition_meanwhile():
    last = LastReading()
    last.begins(BEFORE, NOW)
    last.begins(BEFORE, NOW + 30)
    last.begins(AFTER, NOW + 20)
    assert not last.counts(BEFORE, NOW + 30)
    assert not last.has_changed(lambda: BEFORE)


def test_a_reading_in_an_unknown_condition_does_not_count():
    last = LastReading()
    last.begins(BEFORE, NOW)
    assert not reading(last, None, NOW + 30)
    assert not reading(last, None, NOW + 60)
    assert not reading(last, BEFORE, NOW + 90)
