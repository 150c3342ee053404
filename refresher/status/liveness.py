"""Whether the engine makes progress. Liveness probes and watchdogs ask for that."""

from refresher.core.instant import Instant

# Seconds since the engine's last turn. It sleeps for at most 30 s, so it has missed two turns, and a slow
# machine had some time to spare.
HANGS_AFTER = 90.0


def silence(last_turn: Instant, now: Instant) -> float:
    """Seconds since the engine's last turn. Only that counts: a restart does not help against an issuer or a
    disk that fails."""
    return now.boot - last_turn.boot


def is_alive(last_turn: Instant, now: Instant) -> bool:
    """Whether the engine makes progress, so that a restart would not help."""
    return silence(last_turn, now) < HANGS_AFTER
