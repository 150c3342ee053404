"""The contract of every `ports.Output`. A test class inherits `OutputContract` and has a fixture `place`."""

from contextlib import AbstractContextManager
from typing import Protocol

import pytest

from refresher.core.instant import Instant
from refresher.core.model import Holding
from refresher.errors import OutputError
from refresher.ports import Output
from tests.outputs.tokens import LIFETIME, NOW, SEALER, a_token


class Publisher(Protocol):
    """Where an output publishes."""

    def output(self) -> Output:
        """An output for this place."""

    def content(self) -> bytes | None:
        """The value that a consumer reads."""


class Place(Publisher, Protocol):
    """A place outside this process, with faults. `output` is a new one, as after a restart."""

    tells_value: bool  # whether what is written can be read back

    def alter(self, content: bytes) -> None:
        """Another process writes."""

    def delete(self) -> None:
        """Another process deletes the value."""

    def make_unreadable(self) -> None:
        """From now on the value cannot be read."""

    def refusing_writes(self) -> AbstractContextManager[None]:
        """No write succeeds in this block."""


def is_nothing(found: Holding) -> bool:
    """Whether the place holds no token. Ignores the owner."""
    return found._replace(owner="") == Holding()


def follows_its_name(output: Output, error: OutputError) -> bool:
    """Whether the text makes a sentence after the output's name, and does not repeat it."""
    verbs = ("cannot be ", "is ", "belongs to ", "does not ")
    return str(error).startswith(verbs) and output.name not in str(error)


class PublishingContract:
    """The contract of every output, one in memory included."""

    def test_an_empty_place_holds_nothing(self, place: Publisher):
        assert is_nothing(place.output().inspect(NOW))

    def test_a_written_token_is_intact(self, place: Publisher):
        output, token = place.output(), a_token()
        output.write(token, NOW, SEALER)
        found = output.inspect(NOW)
        assert found.facts == token.facts
        assert found.intact

    def test_consumers_read_the_written_value(self, place: Publisher):
        place.output().write(a_token(), NOW, SEALER)
        assert b"acc3ss-1-" in (place.content() or b"")

    def test_the_refresh_token_is_written_if_the_output_includes_it(self, place: Publisher):
        output = place.output()
        output.write(a_token(), NOW, SEALER)
        assert (b"r3fresh-1-" in (place.content() or b"")) is output.includes_refresh_token

    def test_a_newer_token_replaces_the_older(self, place: Publisher):
        output = place.output()
        output.write(a_token(1), NOW, SEALER)
        output.write(a_token(2), NOW + 10, SEALER)
        assert output.inspect(NOW + 10).facts == a_token(2).facts
        assert b"acc3ss-1-" not in (place.content() or b"")

    def test_writing_the_same_token_again_changes_nothing(self, place: Publisher):
        output, token = place.output(), a_token()
        output.write(token, NOW, SEALER)
        output.write(token, NOW + 10, SEALER)
        found = output.inspect(NOW + 10)
        assert (found.facts, found.intact) == (token.facts, True)

    def test_the_requested_and_the_granted_lifetime_are_both_kept(self, place: Publisher):
        token = a_token(lifetime=1800.0)
        place.output().write(token, NOW, SEALER)
        found = place.output().inspect(NOW).facts
        assert found is not None
        assert (found.lifetime, found.requested) == (1800.0, 3600.0)

    def test_an_expired_token_is_reported_as_written(self, place: Publisher):
        place.output().write(a_token(), NOW, SEALER)
        found = place.output().inspect(NOW + LIFETIME + 1)
        assert found.facts is not None
        assert found.facts.remaining(NOW + LIFETIME + 1) == -1
        assert found.remaining(NOW + LIFETIME + 1) == 0

    def test_a_clock_set_back_does_not_change_the_recorded_times(self, place: Publisher):
        """The core decides whether to trust them. It also knows the token by the other clock."""
        place.output().write(a_token(), NOW, SEALER)
        found = place.output().inspect(Instant(NOW.wall - 600, NOW.boot + 1))
        assert found.facts is not None
        assert found.facts.issued.wall == pytest.approx(NOW.wall, abs=1e-6, rel=0)

    def test_claiming_an_output_keeps_its_value(self, place: Publisher):
        output = place.output()
        output.claim()  # an empty place
        output.write(a_token(), NOW, SEALER)
        output.claim()
        assert output.inspect(NOW).intact

    def test_a_released_output_keeps_its_value_by_default(self, place: Publisher):
        output = place.output()
        output.write(a_token(), NOW, SEALER)
        assert not output.release(tuple)
        assert output.inspect(NOW).facts == a_token().facts

    def test_a_dry_run_changes_nothing(self, place: Publisher):
        output = place.output()
        output.dry_run()
        assert place.content() is None
        output.write(a_token(), NOW, SEALER)
        before = place.content()
        output.dry_run()
        assert place.content() == before
        assert output.inspect(NOW).intact

    def test_every_instance_has_the_same_name(self, place: Publisher):
        assert place.output().name == place.output().name


class OutputContract(PublishingContract):
    """The contract of an output that others can reach, and that outlives the process."""

    def test_a_restart_finds_all_that_adoption_needs(self, place: Place):
        place.output().write(a_token(), NOW, SEALER)
        rebooted = Instant(NOW.wall + 60, boot=10.0)
        found = place.output().inspect(rebooted)
        assert found.facts is not None
        assert found.facts.issued.wall == pytest.approx(NOW.wall, abs=1e-6, rel=0)
        assert found.facts.issued.boot == pytest.approx(10.0 - 60, abs=1e-6)
        assert found.remaining(rebooted) == pytest.approx(LIFETIME - 60, abs=1e-6)
        written = a_token().facts
        for fact in (
            "lifetime",
            "requested",
            "key_fingerprint",
            "fingerprint",
            "has_refresh_token",
            "issuer",
        ):
            assert getattr(found.facts, fact) == getattr(written, fact)

    def test_a_restart_finds_the_token_if_the_format_contains_it(self, place: Place):
        output, token = place.output(), a_token()
        output.write(token, NOW, SEALER)
        found = place.output().inspect(NOW).token
        if place.tells_value:
            assert found is not None
            assert (found.facts, found.access) == (token.facts, token.access)
            assert found.refresh_token == (token.refresh_token if output.includes_refresh_token else None)
        else:
            assert found is None

    @pytest.mark.parametrize("content", [b"", b"acc3ss-2-", b"\x00\xff" * 50])
    def test_an_altered_value_is_neither_intact_nor_trusted(self, place: Place, content: bytes):
        output = place.output()
        output.write(a_token(), NOW, SEALER)
        place.alter(content)
        assert is_nothing(output.inspect(NOW))

    def test_a_truncated_value_is_neither_intact_nor_trusted(self, place: Place):
        output = place.output()
        output.write(a_token(), NOW, SEALER)
        place.alter((place.content() or b"")[:-1])
        assert is_nothing(output.inspect(NOW))

    def test_a_deleted_value_is_an_empty_place(self, place: Place):
        output = place.output()
        output.write(a_token(), NOW, SEALER)
        place.delete()
        assert is_nothing(output.inspect(NOW))

    def test_writing_again_repairs_the_output(self, place: Place):
        output = place.output()
        output.write(a_token(), NOW, SEALER)
        place.alter(b"disturbed")
        output.write(a_token(), NOW, SEALER)
        assert output.inspect(NOW).intact
        place.delete()
        output.write(a_token(), NOW, SEALER)
        assert output.inspect(NOW).intact

    def test_a_failed_write_keeps_the_old_value_and_its_record(self, place: Place):
        output = place.output()
        output.write(a_token(1), NOW, SEALER)
        before = place.content()
        with place.refusing_writes(), pytest.raises(OutputError):
            output.write(a_token(2), NOW + 10, SEALER)
        assert place.content() == before
        found = place.output().inspect(NOW + 10)
        assert (found.facts and found.facts.fingerprint, found.intact) == (a_token(1).facts.fingerprint, True)

    def test_a_failed_first_write_leaves_nothing(self, place: Place):
        output = place.output()
        with place.refusing_writes(), pytest.raises(OutputError):
            output.write(a_token(), NOW, SEALER)
        assert place.content() is None
        assert is_nothing(output.inspect(NOW))

    def test_a_write_succeeds_once_its_obstacle_is_removed(self, place: Place):
        output = place.output()
        with place.refusing_writes(), pytest.raises(OutputError):
            output.write(a_token(1), NOW, SEALER)
        output.write(a_token(2), NOW, SEALER)
        assert output.inspect(NOW).intact

    def test_an_error_follows_the_name_of_the_output_and_contains_no_secret(self, place: Place):
        output = place.output()
        with place.refusing_writes(), pytest.raises(OutputError) as failure:
            output.write(a_token(), NOW, SEALER)
        told = str(failure.value) + repr(failure.value.__cause__)
        assert follows_its_name(output, failure.value)
        assert "acc3ss" not in told
        assert "r3fresh" not in told

    def test_an_unreadable_value_is_an_error(self, place: Place):
        output = place.output()
        output.write(a_token(), NOW, SEALER)
        place.make_unreadable()
        with pytest.raises(OutputError) as failure:
            output.inspect(NOW)
        assert follows_its_name(output, failure.value)

    def test_a_dry_run_fails_if_a_write_would(self, place: Place):
        output = place.output()
        with place.refusing_writes(), pytest.raises(OutputError) as failure:
            output.dry_run()
        assert follows_its_name(output, failure.value)

    def test_a_request_for_a_new_token_is_found_in_every_process(self, place: Place):
        place.output().write(a_token(), NOW, SEALER)
        assert place.output().inspect(NOW).refresh_requested is None
        place.output().request_refresh(NOW.wall + 5)
        found = place.output().inspect(NOW + 10)
        assert found.refresh_requested == pytest.approx(NOW.wall + 5, abs=1e-6, rel=0)

    def test_a_request_does_not_disturb_the_token(self, place: Place):
        output, token = place.output(), a_token()
        output.write(token, NOW, SEALER)
        before = place.content()
        output.request_refresh(NOW.wall + 5)
        found = output.inspect(NOW + 10)
        assert (found.facts, found.intact, place.content()) == (token.facts, True, before)

    def test_the_newest_request_counts_also_after_a_write(self, place: Place):
        output = place.output()
        output.write(a_token(1), NOW, SEALER)
        output.request_refresh(NOW.wall + 5)
        output.request_refresh(NOW.wall + 7)
        output.write(a_token(2), NOW + 10, SEALER)
        found = output.inspect(NOW + 10)
        assert found.refresh_requested == pytest.approx(NOW.wall + 7, abs=1e-6, rel=0)
