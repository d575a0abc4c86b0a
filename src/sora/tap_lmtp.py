"""What `twistd sora-lmtp` calls: the same options, only the servers of type lmtp."""

from twisted.application.service import IService

from sora import tap

Options = tap.Options


def makeService(options: tap.Options) -> IService:
    """Build the service of the lmtp servers."""
    return tap.makeService(options, "lmtp")
