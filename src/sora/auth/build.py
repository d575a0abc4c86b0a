"""Makes the authenticator that `[auth]` describes."""

from typing import Any

from sora.auth.cache import VerifiedCache
from sora.auth.login import Authenticator
from sora.auth.pool import HashingPool
from sora.auth.throttle import News, Throttle
from sora.core.config.access import Auth
from sora.store.interfaces import Accounts


def authenticator(section: Auth, accounts: Accounts, reactor: Any, *, tell: News | None = None) -> Authenticator:
    """Return an authenticator that is not started yet; one for all servers of the process.

    `tell` is called with what the throttles of other processes are to hear.
    """
    throttle = Throttle(
        clock=reactor.seconds,
        delay=section.throttle_delay,
        delay_max=section.throttle_delay_max,
        window=section.throttle_window,
        trusted=section.trusted_networks,
        tell=tell,
    )
    return Authenticator(
        accounts,
        reactor,
        hashing=HashingPool(reactor, threads=section.hashing_threads, queue_max=section.hashing_queue),
        bcrypt_cost=section.bcrypt_cost,
        cache=VerifiedCache(clock=reactor.seconds, ttl=section.cache_ttl, size_max=section.cache_size),
        throttle=throttle if section.throttle else None,
    )
