"""The only place where the reactor's clock is chosen: one that nobody can set.

Twisted reads the system's time. When that is set back by an hour, every timer waits an hour longer: uploads, attempts
to reach the database, limits of time. When it is set ahead, all idle clients are sent away at once.
"""

import time
from typing import Any

from twisted.logger import Logger

log = Logger()


def steady(reactor: Any) -> bool:
    """Have a reactor measure time since the machine's start; tells whether it does.

    For a reactor of which nobody has asked anything yet: calls that wait for a moment of the other clock would never
    be made. Its `seconds` are then good for differences only.
    """
    if reactor.getDelayedCalls():
        log.warn("the reactor has begun already: changes of the system's time will move its timers")
        return False
    reactor.seconds = time.monotonic
    return True
