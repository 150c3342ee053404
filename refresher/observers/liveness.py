"""Whether the engine makes progress: for a liveness probe, and for a watchdog."""

from refresher.core.instant import Instant

# Seconds since the engine's last turn. It sleeps for 30 s at the most: two turns missed, and room for a
# machine that is short of time.
STALLED = 90.0


def silence(last_turn: Instant, now: Instant) -> float:
    """Seconds since the engine's last turn. Nothing else counts: an issuer or a disk that fails is not mended
    by a restart."""
    return now.boot - last_turn.boot


def is_alive(last_turn: Instant, now: Instant) -> bool:
    """Whether a restart is out of place."""
    return silence(last_turn, now) < STALLED
