"""Makes the authenticator that `[auth]` describes."""

from typing import Any

from sora.auth.cache import VerifiedCache
from sora.auth.login import Authenticator
from sora.auth.pool import HashingPool
from sora.auth.throttle import Throttle
from sora.core.config.access import Auth
from sora.store.interfaces import Accounts


def authenticator(section: Auth, accounts: Accounts, reactor: Any) -> Authenticator:
    """Return an authenticator that is not started yet; one for all servers of the process."""
    throttle = Throttle(
        clock=reactor.seconds,
        delay=section.throttle_delay,
        delay_max=section.throttle_delay_max,
        window=section.throttle_window,
        trusted=section.trusted_networks,
    )
    return Authenticator(
        accounts,
        reactor,
        hashing=HashingPool(reactor, threads=section.hashing_threads, queue_max=section.hashing_queue),
        bcrypt_cost=section.bcrypt_cost,
        cache=VerifiedCache(clock=reactor.seconds, ttl=section.cache_ttl, size_max=section.cache_size),
        throttle=throttle if section.throttle else None,
    )
