"""The only place that reads IMAP URLs: those of messages of the same account, as CATENATE takes them.

RFC 4469 3 and RFC 5092: absolute-path references only. No server, no scheme, no URLAUTH.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

import attrs

from sora.core.errors import SoraError
from sora.core.ids import UID_MAX
from sora.imap import fetch_parse, mailbox_name
from sora.imap.fetch_items import Partial
from sora.mime.section import Section

_URL = re.compile(
    rb"/(?P<mailbox>[^;?/#][^;?#]*?)(?:;UIDVALIDITY=(?P<validity>[1-9][0-9]{0,9}))?"
    rb"/;UID=(?P<uid>[1-9][0-9]{0,9})"
    rb"(?:/;SECTION=(?P<section>[^;?/#]+))?"
    rb"(?:/;PARTIAL=(?P<first>[0-9]{1,18})(?:\.(?P<count>[1-9][0-9]{0,17}))?)?\Z",
    re.IGNORECASE,
)
_BROKEN = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_TO_THE_END: Final = 2**63 - 1


@attrs.frozen
class MessagePlace:
    """A message, or a section of it."""

    mailbox: str
    """Canonical."""
    uid_validity: int | None
    uid: int
    section: Section
    partial: Partial | None


def parse(text: bytes) -> MessagePlace | None:
    """Read a URL; None if it is none, or names anything but a message of this account."""
    match = _URL.match(text)
    if match is None or _BROKEN.search(text) or int(match["uid"]) > UID_MAX:
        return None
    try:
        name = mailbox_name.decode(unquote_to_bytes(match["mailbox"]), utf8=True)
        section = Section() if match["section"] is None else fetch_parse.section(unquote_to_bytes(match["section"]))
    except SoraError:
        return None
    partial = None
    if match["first"] is not None:
        partial = Partial(int(match["first"]), int(match["count"] or _TO_THE_END))
    return MessagePlace(
        mailbox=mailbox_name.canonical(name),
        uid_validity=int(match["validity"]) if match["validity"] else None,
        uid=int(match["uid"]),
        section=section,
        partial=partial,
    )
