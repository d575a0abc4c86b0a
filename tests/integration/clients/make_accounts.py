"""Makes many accounts in one process beside the server, so that tests need not run `sora-admin` for each.

Arguments: the configuration file, the password, the addresses.
"""

import sys
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from sora.core.config.load import load
from sora.mail.mailboxes import DEFAULTS
from sora.sasl.passwords import hash_password
from sora.service.storage import open_storage


async def _make(reactor: object, config: str, password: str, *addresses: str) -> None:
    configuration = load(Path(config))
    storage = await open_storage(configuration, reactor)
    try:
        secret = hash_password(password, cost=configuration.auth.bcrypt_cost)
        for address in addresses:
            await storage.store.accounts.create(address, secret, DEFAULTS)
    finally:
        await storage.close()


if __name__ == "__main__":
    react(lambda reactor, *arguments: Deferred.fromCoroutine(_make(reactor, *arguments)), sys.argv[1:])
