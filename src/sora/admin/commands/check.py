"""`sora-admin check`: prove that the database and the object store agree, and mend what can be mended."""

import sys
from typing import Any, Final

import attrs
import click

from sora.admin.invocation import REFUSED, Invocation, Storage, config_option, json_option, pass_invocation, print_json
from sora.admin.storage_check import StorageCheck

FINDINGS_MAX: Final = 10_000
"""Findings after which the check ends: by then something is wrong with all. A repair may be run again."""


@attrs.define
class _Report:
    """What one run came to."""

    findings: int = 0
    repaired: int = 0
    complete: bool = True
    bodies: int = 0
    objects: int = 0


@click.command()
@config_option
@click.option("--contents", is_flag=True, help="Read every object and compare its hash; costs as much as it is.")
@click.option("--repair", is_flag=True, help="Mend what can be known; the rest is listed as before.")
@click.option(
    "--discard-orphans",
    is_flag=True,
    help="With --repair: let the collector delete objects that no body names. Never after restoring the database"
    " to an earlier moment.",
)
@json_option
@pass_invocation
def check(invocation: Invocation, *, as_json: bool, contents: bool, repair: bool, discard_orphans: bool) -> None:
    """Check that the database and the object store agree; exit code 1 if something is wrong and stays so.

    Every counter and reference in the database is recounted, every body is looked for in the object store with its
    size, and objects older than a day that no body names are listed. Without --repair nothing is changed. May run
    beside the server, be interrupted at any point and be run again.
    With --json: one finding a line, then a summary.
    """
    sealed = bool(invocation.configuration().storage.sealing.keys)

    async def work(storage: Storage, clock: Any) -> _Report:
        checking = StorageCheck(storage.store.audit, storage.objects, clock=clock, sealed=sealed, contents=contents)
        report = _Report()
        async for finding in checking.findings():
            mended = repair and await checking.repair(finding, discard_orphans=discard_orphans)
            report.findings += 1
            report.repaired += mended
            if as_json:
                print_json({**attrs.asdict(finding), "repaired": mended})
            else:
                click.echo(f"{finding.kind}: {finding.where}: {finding.detail}{' (repaired)' if mended else ''}")
            if report.findings == FINDINGS_MAX:
                report.complete = False
                break
        report.bodies, report.objects = checking.counted.bodies, checking.counted.objects
        return report

    report = invocation.with_storage(work)
    if as_json:
        print_json(report)
    else:
        end = "nothing is wrong" if not report.findings else f"{report.findings} findings"
        mended = f", {report.repaired} repaired" if report.repaired else ""
        click.echo(f"{report.bodies} bodies, {report.objects} objects: {end}{mended}")
    if report.findings > report.repaired or not report.complete:
        sys.exit(REFUSED)
