"""`sora-admin check`: prove that the database and the object store agree."""

import sys
from typing import Any, Final

import attrs
import click

from sora.admin.invocation import REFUSED, Invocation, Storage, config_option, json_option, pass_invocation, print_json
from sora.admin.storage_check import Counted, StorageCheck

FINDINGS_MAX: Final = 10_000
"""Findings after which the check ends: by then something is wrong with all."""


@click.command()
@config_option
@click.option("--contents", is_flag=True, help="Read every object and compare its hash; costs as much as it is.")
@json_option
@pass_invocation
def check(invocation: Invocation, *, as_json: bool, contents: bool) -> None:
    """Check that the database and the object store agree; exit code 1 if they do not. Changes nothing.

    Every counter and reference in the database is recounted, every body is looked for in the object store with its
    size, and objects older than a day that no body names are listed. May run beside the server.
    With --json: one finding a line, then a summary.
    """
    sealed = bool(invocation.configuration().storage.sealing.keys)

    async def work(storage: Storage, clock: Any) -> tuple[int, Counted]:
        checking = StorageCheck(storage.store.audit, storage.objects, clock=clock, sealed=sealed, contents=contents)
        found = 0
        async for finding in checking.findings():
            found += 1
            if as_json:
                print_json(finding)
            else:
                click.echo(f"{finding.kind}: {finding.where}: {finding.detail}")
            if found == FINDINGS_MAX:
                break
        return found, checking.counted

    found, counted = invocation.with_storage(work)
    if as_json:
        print_json({"findings": found, "complete": found < FINDINGS_MAX, **attrs.asdict(counted)})
    else:
        end = "nothing is wrong" if not found else f"{found} findings"
        click.echo(f"{counted.bodies} bodies, {counted.objects} objects: {end}")
    if found:
        sys.exit(REFUSED)
