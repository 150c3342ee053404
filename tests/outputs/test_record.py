import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refresher.core.instant import Instant
from refresher.core.model import TokenFacts
from refresher.outputs import record
from refresher.outputs.record import Entry, Record
from tests.outputs.tokens import NOW, SEALER, a_token

ONE, TWO = record.digest(b"one"), record.digest(b"two")
ENTRY = record.sealed(ONE, Entry("token", a_token().facts), SEALER)

fingerprints = st.text("0123456789abcdef", min_size=16, max_size=16)
durations = st.floats(min_value=0.5, max_value=1e8)
facts = st.builds(
    TokenFacts,
    issued=st.floats(min_value=0, max_value=4e9).map(lambda wall: Instant(wall, 0.0)),
    lifetime=durations,
    requested=durations,
    key_fingerprint=fingerprints,
    fingerprint=fingerprints,
    has_refresh_token=st.booleans(),
    issuer=st.text().map("https://{}".format),
)
facts = facts.map(lambda each: each._replace(lifetime=min(each.lifetime, each.requested)))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def spoiled(**fields):
    """A record of one entry with these fields replaced."""
    document = json.loads(record.dump(Record({ONE: ENTRY})))
    document["contents"][0] |= fields
    return json.dumps(document).encode()


def test_a_digest_is_what_sha256sum_prints():
    assert record.digest(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@given(st.dictionaries(st.sampled_from([ONE, TWO]), st.builds(Entry, st.text(), facts)))
def test_loading_a_record_returns_its_entries(entries):
    found = record.load(record.dump(Record(entries)), NOW).entries
    assert list(found) == list(entries)
    for sha256, entry in entries.items():
        assert found[sha256].format == entry.format
        known, told = entry.facts, found[sha256].facts
        assert told.issued.wall == pytest.approx(known.issued.wall, abs=1e-6, rel=0)
        assert (told.lifetime, told.requested) == (known.lifetime, known.requested)
        assert (told.key_fingerprint, told.fingerprint) == (known.key_fingerprint, known.fingerprint)
        assert (told.has_refresh_token, told.issuer) == (known.has_refresh_token, known.issuer)


@given(st.builds(Entry, st.text(), facts, st.none()))
def test_a_seal_survives_dump_and_load(entry):
    sealed = record.sealed(ONE, entry, SEALER)
    found = record.load(record.dump(Record({ONE: sealed})), NOW).entries[ONE]
    assert found.proof == sealed.proof
    assert SEALER.accepts(found.proof)


def test_times_are_on_the_boot_clock_of_the_reader():
    found = record.load(record.dump(Record({ONE: ENTRY})), Instant(NOW.wall + 60, 10.0)).entries[ONE]
    assert found.facts.issued == Instant(NOW.wall, -50.0)


def test_a_sound_record_is_loaded():
    assert record.load(spoiled(), NOW).entries == {ONE: ENTRY}


@pytest.mark.parametrize(
    "fields",
    [
        {"sha256": ONE[:-1]},
        {"sha256": ONE.upper()},
        {"sha256": None},
        {"format": None},
        {"issued_at": "2026-11-05T10:00:00.250000"},
        {"issued_at": 1_793_872_800.25},
        {"issued_at": "2026-11-05T10:00:01.250000Z"},
        {"expires_at": "2026-11-05T11:00:00.252000Z"},
        {"expires_at": "9999-12-31T23:59:59Z"},
        {"expires_at": "later"},
        {"lifetime": 7200.0},
        {"lifetime": -3600.0},
        {"lifetime": "3600"},
        {"lifetime": None},
        {"lifetime": math.nan},
        {"lifetime": math.inf},
        {"lifetime": 10**400},
        {"requested_lifetime": 0},
        {"requested_lifetime": True},
        {"requested_lifetime": math.inf},
        {"requested_lifetime": math.nan},
        {"requested_lifetime": 10**400},
        {"key_fingerprint": "0" * 15},
        {"key_fingerprint": "0" * 15 + "g"},
        {"key_fingerprint": "\u0660" * 16},
        {"token_fingerprint": ""},
        {"token_fingerprint": 0},
        {"has_refresh_token": 1},
        {"has_refresh_token": None},
        {"issuer": None},
        {"issuer": ["https://api.inlive.app"]},
        {"issuer": "api.inlive.app"},
    ],
    ids=lambda fields: str(fields)[:50],
)
def test_an_entry_with_an_impossible_field_is_dropped(fields):
    assert record.load(spoiled(**fields), NOW).entries == {}


def test_a_sound_entry_beside_a_malformed_one_is_kept():
    another = record.sealed(TWO, ENTRY, SEALER)
    document = json.loads(record.dump(Record({ONE: ENTRY, TWO: another})))
    document["contents"][0]["lifetime"] = "long"
    assert record.load(json.dumps(document).encode(), NOW).entries == {TWO: another}


@pytest.mark.parametrize("name", json.loads(record.dump(Record({ONE: ENTRY})))["contents"][0])
@given(value=json_values)
@settings(max_examples=30)
def test_any_value_in_a_field_is_dropped_or_consistent(name, value):
    for entry in record.load(spoiled(**{name: value}), NOW).entries.values():
        told = entry.facts
        assert abs(told.issued.wall + told.lifetime - ENTRY.facts.expiry.wall) <= 0.001
        assert 0 < told.requested < math.inf
        assert len(told.key_fingerprint) == len(told.fingerprint) == 16
        assert isinstance(told.has_refresh_token, bool)
        assert isinstance(told.issuer, str)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"{}",
        b"\xff",
        b"[" * 60_000,
        b'{"version": 1}',
        b'{"version": 1, "contents": {}}',
        b'{"version": 1, "contents": [null, 1, "a", [], {}]}',
        record.dump(Record({ONE: ENTRY})).replace(b'"version": 1', b'"version": 2'),
        record.dump(Record({ONE: ENTRY})) + b" " * record.LARGEST_RECORD,
    ],
    ids=lambda content: repr(content[:50]),
)
def test_a_record_of_another_version_is_empty(content):
    assert record.load(content, NOW).entries == {}


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_an_empty_record(content):
    assert record.load(content, NOW).entries == {}


TIMES = st.sampled_from(
    ["0001-01-01T00:00:00", "0001-01-01T01:00:00", "9999-12-31T22:59:59", "9999-12-31T23:59:59"]
)
OFFSETS = st.sampled_from(["Z", "+00:00", "+23:59", "-23:59"])


@given(TIMES, TIMES, OFFSETS, st.sampled_from([3600.0, 3600.0005, 1e-3]))
def test_a_loaded_record_can_be_dumped_again(issued, expires, offset, lifetime):
    fields = {"issued_at": issued + offset, "expires_at": expires + offset, "lifetime": lifetime}
    believed = record.load(spoiled(**fields), NOW).entries
    assert record.load(record.dump(Record(believed)), NOW).entries.keys() == believed.keys()


@pytest.mark.parametrize("lifetime", [3601.0, 1e9])
def test_no_token_lives_longer_than_requested(lifetime):
    """Otherwise a writer of the record could have an old token trusted for years."""
    longer = ENTRY._replace(facts=ENTRY.facts._replace(lifetime=lifetime, requested=3600.0))
    assert record.load(record.dump(Record({ONE: longer})), NOW).entries == {}
