"""The entry point of `sora-admin`."""

import click

from sora import __version__
from sora.admin.commands.accounts import accounts
from sora.admin.commands.check import check
from sora.admin.commands.config import config
from sora.admin.commands.quota import quota
from sora.admin.commands.sharing import acl, groups, shared
from sora.admin.invocation import config_option


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="sora-admin")
@config_option
def main() -> None:
    """Administer sora: accounts, quotas, sharing, configuration, consistency.

    Exit codes: 0 done, 1 refused or something found wrong, 2 misused or the configuration is wrong,
    75 something outside is away, try again.
    """


main.add_command(accounts)
main.add_command(config)
main.add_command(check)
main.add_command(quota)
main.add_command(groups)
main.add_command(acl)
main.add_command(shared)


if __name__ == "__main__":
    main()
