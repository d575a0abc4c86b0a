"""Creates users in this project's server, as `sora-admin` does, in a process of its own.

`python -m bench.accounts FILE FIRST LAST`, FILE being the configuration of a running server; prints the version.
"""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.servers import PASSWORD, user
from sora.admin.invocation import Invocation
from sora.mail.mailboxes import DEFAULTS
from sora.sasl.passwords import hash_password


def main(config: Path, first: int, last: int) -> None:
    """Create the users of these numbers; they share one password hash."""
    invocation = Invocation(config=config)
    hashed = hash_password(PASSWORD, cost=invocation.configuration().auth.bcrypt_cost)

    async def create(storage: Any, _: object) -> None:
        for number in range(first, last + 1):
            await storage.store.accounts.create(user(number), hashed, DEFAULTS)

    invocation.with_storage(create)
    sys.stdout.write(version("sora") + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
