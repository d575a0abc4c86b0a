"""What `twistd sora-imap` calls: the same options, only the servers of type imap."""

from twisted.application.service import IService

from sora import tap

Options = tap.Options


def makeService(options: tap.Options) -> IService:
    """Build the service of the imap servers."""
    return tap.makeService(options, "imap")
