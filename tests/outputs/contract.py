"""What every implementation of `ports.Output` promises. A test class inherits `OutputContract` and gives it a
`place` fixture."""

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
        """An output on this place."""

    def content(self) -> bytes | None:
        """What a consumer reads."""


class Place(Publisher, Protocol):
    """Where an output publishes outside of this process, and what may befall it there. `output` is a new one:
    what a restarted process has."""

    tells_value: bool  # whether what is written can be read back

    def alter(self, content: bytes) -> None:
        """Somebody else writes."""

    def delete(self) -> None:
        """Somebody deletes it."""

    def make_unreadable(self) -> None:
        """From now on, what it holds cannot be told."""

    def refusing_writes(self) -> AbstractContextManager[None]:
        """Within, no write succeeds."""


def is_nothing(found: Holding) -> bool:
    """Whether that is no token, whoever it may belong to."""
    return found._replace(owner="") == Holding()


class PublishingContract:
    """What holds wherever an output publishes."""

    def test_where_nothing_was_written_nothing_is_found(self, place: Publisher):
        assert is_nothing(place.output().inspect(NOW))

    def test_what_was_written_is_found_intact(self, place: Publisher):
        output, token = place.output(), a_token()
        output.write(token, NOW, SEALER)
        found = output.inspect(NOW)
        assert found.facts == token.facts
        assert found.intact

    def test_what_is_written_is_what_consumers_read(self, place: Publisher):
        place.output().write(a_token(), NOW, SEALER)
        assert b"acc3ss-1-" in (place.content() or b"")

    def test_the_refresh_token_is_written_where_it_was_said_to_be_needed(self, place: Publisher):
        output = place.output()
        output.write(a_token(), NOW, SEALER)
        assert (b"r3fresh-1-" in (place.content() or b"")) is output.includes_refresh_token

    def test_a_newer_token_takes_the_place_of_the_older(self, place: Publisher):
        output = place.output()
        output.write(a_token(1), NOW, SEALER)
        output.write(a_token(2), NOW + 10, SEALER)
        assert output.inspect(NOW + 10).facts == a_token(2).facts
        assert b"acc3ss-1-" not in (place.content() or b"")

    def test_writing_the_same_token_again_is_no_change(self, place: Publisher):
        output, token = place.output(), a_token()
        output.write(token, NOW, SEALER)
        output.write(token, NOW + 10, SEALER)
        found = output.inspect(NOW + 10)
        assert (found.facts, found.intact) == (token.facts, True)

    def test_a_shorter_lifetime_than_requested_is_kept_apart(self, place: Publisher):
        token = a_token(lifetime=1800.0)
        place.output().write(token, NOW, SEALER)
        found = place.output().inspect(NOW).facts
        assert found is not None
        assert (found.lifetime, found.requested) == (1800.0, 3600.0)

    def test_an_expired_token_is_told_as_it_is(self, place: Publisher):
        place.output().write(a_token(), NOW, SEALER)
        found = place.output().inspect(NOW + LIFETIME + 1)
        assert found.facts is not None
        assert found.facts.remaining(NOW + LIFETIME + 1) == -1
        assert found.remaining(NOW + LIFETIME + 1) == 0

    def test_a_clock_set_back_changes_nothing_in_what_is_told(self, place: Publisher):
        """Whether it is to be believed is decided by the core, which has the token's other clock reading."""
        place.output().write(a_token(), NOW, SEALER)
        found = place.output().inspect(Instant(NOW.wall - 600, NOW.boot + 1))
        assert found.facts is not None
        assert found.facts.issued.wall == pytest.approx(NOW.wall, abs=1e-6, rel=0)

    def test_clearing_debris_leaves_the_value(self, place: Publisher):
        output = place.output()
        output.claim()  # of nothing
        output.write(a_token(), NOW, SEALER)
        output.claim()
        assert output.inspect(NOW).intact

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
    """What holds as well where others can reach it, and where it outlives the process."""

    def test_after_a_restart_all_is_known_that_adoption_takes(self, place: Place):
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

    def test_after_a_restart_the_value_is_known_where_the_format_tells_it(self, place: Place):
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
    def test_an_altered_value_is_neither_intact_nor_believed(self, place: Place, content: bytes):
        output = place.output()
        output.write(a_token(), NOW, SEALER)
        place.alter(content)
        assert is_nothing(output.inspect(NOW))

    def test_a_value_cut_short_is_neither_intact_nor_believed(self, place: Place):
        output = place.output()
        output.write(a_token(), NOW, SEALER)
        place.alter((place.content() or b"")[:-1])
        assert is_nothing(output.inspect(NOW))

    def test_a_deleted_value_is_nothing(self, place: Place):
        output = place.output()
        output.write(a_token(), NOW, SEALER)
        place.delete()
        assert is_nothing(output.inspect(NOW))

    def test_what_was_disturbed_is_put_right_by_writing_again(self, place: Place):
        output = place.output()
        output.write(a_token(), NOW, SEALER)
        place.alter(b"disturbed")
        output.write(a_token(), NOW, SEALER)
        assert output.inspect(NOW).intact
        place.delete()
        output.write(a_token(), NOW, SEALER)
        assert output.inspect(NOW).intact

    def test_a_failed_write_leaves_the_old_value_and_what_is_known_of_it(self, place: Place):
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

    def test_a_failure_passes_with_its_cause(self, place: Place):
        output = place.output()
        with place.refusing_writes(), pytest.raises(OutputError):
            output.write(a_token(1), NOW, SEALER)
        output.write(a_token(2), NOW, SEALER)
        assert output.inspect(NOW).intact

    def test_an_error_names_the_output_and_tells_no_secret(self, place: Place):
        output = place.output()
        with place.refusing_writes(), pytest.raises(OutputError) as failure:
            output.write(a_token(), NOW, SEALER)
        told = str(failure.value) + repr(failure.value.__cause__)
        assert output.name in told
        assert "acc3ss" not in told
        assert "r3fresh" not in told

    def test_what_cannot_be_read_is_an_error_that_names_the_output(self, place: Place):
        output = place.output()
        output.write(a_token(), NOW, SEALER)
        place.make_unreadable()
        with pytest.raises(OutputError) as failure:
            output.inspect(NOW)
        assert output.name in str(failure.value)

    def test_a_dry_run_fails_where_a_write_would(self, place: Place):
        output = place.output()
        with place.refusing_writes(), pytest.raises(OutputError) as failure:
            output.dry_run()
        assert output.name in str(failure.value)
