"""Creates the benchmark's users in this project's server, as `sora-admin` does, in a process of its own.

`python -m bench.accounts FILE`, FILE being the configuration of a running server; prints the version.
"""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.servers import PASSWORD, USERS, user
from sora.admin.invocation import Invocation
from sora.mail.mailboxes import DEFAULTS
from sora.sasl.passwords import hash_password


def main(config: Path) -> None:
    """Create all users; they share one password hash."""
    invocation = Invocation(config=config)
    hashed = hash_password(PASSWORD, cost=invocation.configuration().auth.bcrypt_cost)

    async def create(storage: Any, _: object) -> None:
        for number in range(1, USERS + 1):
            await storage.store.accounts.create(user(number), hashed, DEFAULTS)

    invocation.with_storage(create)
    sys.stdout.write(version("sora") + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
