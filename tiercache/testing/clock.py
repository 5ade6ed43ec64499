"""`FakeClock`: Unix seconds that move only when a test says so."""

from __future__ import annotations

from ..units import Duration, parse_duration


class FakeClock:
    """A clock for everything that takes one: `Cache(…, clock=clock)`, `TierChain`, `MemoryBackend` and the others.

    Args:
        start: the first reading, in Unix seconds.

    It is set, not run: threads that read it see the time that `advance` left. Deadlines and breakers keep to the
    monotonic time of the machine; a fake clock does not move them.
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self.now = float(start)

    def __call__(self) -> float:
        """Return the time, in Unix seconds."""
        return self.now

    def advance(self, duration: Duration) -> float:
        """Let time pass, and return the new time.

        Args:
            duration: seconds, a `timedelta`, or text such as `"90s"`, `"5m"`, `"12h"`.

        Raises:
            ConfigurationError: the duration is no such thing, or not positive: time never goes back.
        """
        self.now += parse_duration(duration)
        return self.now

    def __repr__(self) -> str:
        return f"FakeClock({self.now!r})"
