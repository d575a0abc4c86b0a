"""Reading messages: FETCH and UID FETCH (RFC 3501 6.4.5, RFC 3516, RFC 7162 3.1.4, RFC 8474, RFC 8514, RFC 8970).

What the shared view knows (UID, FLAGS, MODSEQ) is answered from memory. Everything else is read in pages,
one query a page, while the page before is being written; a slow reader holds back the next page. A message
whose bytes cannot be read is left out and the command ends with NO: never an empty message.
"""

from array import array
from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from sora.core.errors import SoraError
from sora.core.flags import SEEN, Change
from sora.core.uidset import UidSet
from sora.front.imap.resync import tell_vanished
from sora.front.imap.session import Done, ImapProtocol, Refusal, handles
from sora.imap import commands, object_id, responses
from sora.imap.fetch_items import Attribute, Binary, BinarySize, BodySection, FetchItem, Partial, Range
from sora.imap.targets import Targets
from sora.imap.view import Expunges, OwnStore, SessionView
from sora.mime import section as sections
from sora.mime.parse import Parsed, parse
from sora.store.model import FetchRow, FlagChange, Listed, Want

FLAGS_CHUNK: Final = 2_000
"""Messages answered from the view between two looks at the peer's pace."""
_COMPARED_AT_ONCE: Final = 50_000
"""Messages whose modseqs are compared before others have their turn."""

_WANTS: Final = {
    Attribute.INTERNALDATE: Want.INTERNAL_DATE,
    Attribute.SIZE: Want.SIZE,
    Attribute.ENVELOPE: Want.ENVELOPE,
    Attribute.BODY: Want.BODY,
    Attribute.BODYSTRUCTURE: Want.STRUCTURE,
    Attribute.EMAILID: Want.EMAIL,
    Attribute.THREADID: Want.THREAD,
    Attribute.SAVEDATE: Want.SAVE_DATE,
    Attribute.PREVIEW: Want.PREVIEW,
}
_SPENT_AT_ONCE: Final = 1_048_576
"""Octets that are gone through to cut out and decode sections before others have their turn."""
_HEADERS: Final = (sections.Kind.HEADER, sections.Kind.HEADER_FIELDS, sections.Kind.HEADER_FIELDS_NOT)


_NOT_READ: Final = Listed(array("I"))


@attrs.define
class Plan:
    """What a FETCH needs, worked out once for all its messages."""

    items: tuple[FetchItem, ...]
    want: Want
    sets_seen: bool


@handles(commands.Fetch)
async def fetch(session: ImapProtocol, command: commands.Fetch) -> Done:
    """Answer for each message that is still there, in ascending order."""
    here = session.here
    expunges = Expunges.ALLOWED if command.by_uid else Expunges.FORBIDDEN
    items = command.items
    if command.uid_implied and session.uid_only:
        # UIDFETCH says it (RFC 9586 3).
        items = tuple(item for item in items if item is not Attribute.UID)
    since, partial = command.modifiers.changed_since, command.modifiers.partial
    if Attribute.MODSEQ in items:
        session.follow_modseqs()
    targets = here.view.resolve(command.numbers, by_uid=command.by_uid)
    if partial is not None:
        # Before CHANGEDSINCE, which chooses among these (RFC 9394 3.4).
        targets = _part(targets, partial)
    if command.modifiers.vanished and since is not None:
        await _tell_vanished(session, command.numbers, since)
    if since is not None:
        targets = await _changed(session, targets, here.mailbox.told_since(since))
    plan = _plan(items, peek=here.read_only or "s" not in session.rights)
    if plan.sets_seen and session.condstore and Attribute.FLAGS in items:
        # Its flags may be news then, of which the modseq is a part (RFC 7162 3.2.4).
        uid = () if session.uid_only else (Attribute.UID,)
        plan.items = tuple(dict.fromkeys((*uid, *items, Attribute.MODSEQ)))
    if not plan.want:
        await _from_view(session, plan.items, targets)
        return Done("FETCH completed", expunges=expunges)
    unread, code = await _from_store(session, plan, targets)
    if unread:
        raise Refusal(f"{unread} of the messages cannot be read", code)
    return Done("FETCH completed", expunges=expunges)


async def _tell_vanished(session: ImapProtocol, named: UidSet, since: int) -> None:
    """Tell which of the UIDs left after a modseq (RFC 7162 3.2.6); `*` is any UID that there may have been."""
    if "QRESYNC" not in session.enabled:
        raise Refusal("QRESYNC has to be enabled first", bad=True)
    mailbox = session.here.mailbox
    departed = await mailbox.departed_since(since)
    if named.saved:
        known = [(uid, uid) for uid in session.here.view.saved]
    else:
        known = named.resolve(max(mailbox.row.uid_next - 1, session.here.view.last_uid))
    await tell_vanished(session, known, departed)


async def _changed(session: ImapProtocol, targets: Targets, since: int) -> Targets:
    """Choose what changed after a modseq, so many messages at a time."""
    view = session.here.view
    found: list[tuple[int, int]] = []
    for start in range(0, len(targets), _COMPARED_AT_ONCE):
        found += view.changed_since(targets[start : start + _COMPARED_AT_ONCE], since).runs
        await session.drained()
    return Targets(view.uids, found)


def _part(targets: Targets, partial: Range) -> Targets:
    if not partial.from_end:
        return targets[partial.first - 1 : partial.last]
    count = len(targets)
    return targets[max(0, count - partial.last) : max(0, count - partial.first + 1)]


def _plan(items: tuple[FetchItem, ...], *, peek: bool) -> Plan:
    want = Want(0)
    sets_seen = False
    for item in items:
        if isinstance(item, Attribute):
            want |= _WANTS.get(item, Want(0))
            continue
        want |= wants(item.section) if isinstance(item, BodySection) else Want.BYTES
        sets_seen = sets_seen or (not isinstance(item, BinarySize) and item.sets_seen)
    return Plan(items, want, sets_seen and not peek)


def wants(section: sections.Section) -> Want:
    """Return what has to be read for a section."""
    return Want.HEADER if not section.part and section.kind in _HEADERS else Want.BYTES


async def _mark_seen(session: ImapProtocol, plan: Plan, uids: Sequence[int]) -> None:
    """Set \\Seen on what is about to be sent (RFC 3501 6.4.5): what cannot be read now stays unseen.

    Answers that carry FLAGS show it; without them it is announced after the answers, as any other change.
    What counts is whether it is set, not what the client was told: another session may have taken it away.
    """
    here = session.here
    now_set = here.mailbox.version
    places = ((uid, now_set.index(uid)) for uid in uids)
    fresh = tuple(uid for uid, at in places if at >= 0 and not now_set.flags[at] & SEEN)
    if not fresh:
        return
    stored = (await session.services.changer.store(here.mailbox, [FlagChange(fresh, Change.ADD, SEEN, ())]))[0]
    if Attribute.FLAGS in plan.items:
        now = stored.columns
        here.view.stored(OwnStore(now.uids, now.modseqs, Change.ADD, SEEN), version=here.mailbox.version, silent=False)


# ------------------------------------------------------------ from memory


async def _from_view(session: ImapProtocol, items: tuple[FetchItem, ...], targets: Targets) -> None:
    for start in range(0, len(targets), FLAGS_CHUNK):
        session.send(_lines(session, items, list(targets[start : start + FLAGS_CHUNK]), _NOT_READ))
        await session.drained()


def _lines(
    session: ImapProtocol, items: Iterable[FetchItem], targets: Sequence[tuple[int, int]], listed: Listed
) -> bytes:
    """Answer for many messages by columns; all items are attributes, `listed` what is stored of the targets."""
    shape: list[bytes] = []
    columns: list[Sequence[int] | Sequence[bytes]] = []
    view = session.here.view
    for item in items:
        match item:
            case Attribute.UID:
                shape.append(responses.SHAPE_UID)
                columns.append([uid for _, uid in targets])
            case Attribute.FLAGS:
                shape.append(responses.SHAPE_FLAGS)
                columns.append(session.flag_texts(targets))
            case Attribute.MODSEQ:
                shape.append(responses.SHAPE_MODSEQ)
                columns.append(view.modseqs(targets))
            case _:
                one, column = _stored(item, listed)
                shape.append(one)
                columns.append(column)
    return session.fetch_lines(targets, shape, columns, asked=True)


def _stored(item: FetchItem, listed: Listed) -> tuple[bytes, Sequence[int] | Sequence[bytes]]:
    match item:
        case Attribute.INTERNALDATE:
            return responses.SHAPE_INTERNAL_DATE, responses.internal_dates(listed.internal_dates)
        case Attribute.SIZE:
            return responses.SHAPE_SIZE, listed.sizes
        case Attribute.ENVELOPE:
            return responses.SHAPE_ENVELOPE, listed.envelopes
        case Attribute.BODY:
            return responses.SHAPE_BODY, listed.bodies
        case Attribute.BODYSTRUCTURE:
            return responses.SHAPE_STRUCTURE, listed.structures
        case Attribute.EMAILID:
            return object_id.EMAIL, listed.emails
        case Attribute.THREADID:
            return object_id.THREAD, listed.threads
        case Attribute.SAVEDATE:
            return responses.SHAPE_SAVE_DATE, responses.internal_dates(listed.save_dates)
        case Attribute.PREVIEW:
            return responses.SHAPE_PREVIEW, [responses.preview(text) for text in listed.previews]
    raise ValueError(f"{item} is not a column")


def _known(view: SessionView, item: FetchItem, uid: int) -> bytes:
    if item is Attribute.UID:
        return responses.piece_uid(uid)
    if item is Attribute.FLAGS:
        return responses.piece_flags(view.flag_text(uid))
    return responses.piece_modseq(view.modseq(uid))


# ------------------------------------------------------------ from the store


async def _from_store(session: ImapProtocol, plan: Plan, targets: Targets) -> tuple[int, bytes]:
    """Answer page by page; returns how many messages could not be read, and whether trying again may help."""
    unread, code = 0, b"CORRUPTION"
    if all(isinstance(item, Attribute) for item in plan.items):
        await _list(session, plan, targets)
        return unread, code
    here = session.here
    unknown, spent = "", 0
    async for page in session.services.reader.pages(here.mailbox.row.id, targets.uids, plan.want):
        if plan.sets_seen:
            await _mark_seen(session, plan, [one.row.uid for one in page if not isinstance(one.data, Exception)])
        if Attribute.FLAGS in plan.items:
            session.tell_keywords()
        for message in page:
            source = Source(message.row, message.data)
            try:
                line = await _line(session, plan.items, source)
            except sections.UnknownEncoding as error:
                # The command fails (RFC 3516 4.3), but the others are told of nevertheless.
                unknown = str(error)
                continue
            except SoraError as error:
                session.log.warn("a message cannot be read: {error}", error=error)
                unread += 1
                if error.temporary:
                    code = b"UNAVAILABLE"
                continue
            await session.send_paced(line)
            spent += source.spent
            if spent > _SPENT_AT_ONCE:
                spent = 0
                await session.drained()
        await session.drained()
    if unknown:
        raise Refusal(unknown, b"UNKNOWN-CTE")
    return unread, code


async def _list(session: ImapProtocol, plan: Plan, targets: Targets) -> None:
    here, reader = session.here, session.services.reader
    at = 0
    async for listed in reader.listing(here.mailbox.row.id, targets.uids, plan.want):
        session.progress.done, session.progress.goal = at, len(targets)
        page = list(targets[at : at + reader.listing_page])
        at += reader.listing_page
        if len(listed.uids) != len(page):
            there = set(listed.uids)
            page = [target for target in page if target[1] in there]
        session.send(_lines(session, plan.items, page, listed))
        await session.drained()


class Source:
    """One message's row and bytes, parsed at most once."""

    def __init__(self, row: FetchRow, data: bytes | Exception | None) -> None:
        self.row = row
        self._data = data
        self._parsed: Parsed | None = None
        self.spent = 0
        """Octets that were gone through for sections: a partial is cut out of a whole one."""

    @property
    def body(self) -> bytes:
        """The bytes as received. Raises why they cannot be read."""
        if isinstance(self._data, Exception):
            raise self._data
        return self._data or b""

    @property
    def size(self) -> int:
        """Octets of what was read."""
        return len(self._data) if isinstance(self._data, bytes) else 0

    @property
    def trace(self) -> bytes:
        """This copy's trace header."""
        return self.row.trace or b""

    @property
    def parsed(self) -> Parsed:
        """The structure of the bytes as received."""
        if self._parsed is None:
            self._parsed = parse(self.body)
        return self._parsed

    def section(self, wanted: sections.Section) -> bytes | None:
        """Return a section's octets, the trace header being part of the message's header."""
        if not wanted.part and wanted.kind in _HEADERS:
            header = self.row.header
            if header is None:
                header = sections.extract(self.body, self.parsed, sections.Section((), sections.Kind.HEADER)) or b""
            block = self.trace + header
            self.spent += len(block)
            return sections.header_fields(block, wanted)
        if wanted == sections.WHOLE:
            self.spent += self.size
            return self.trace + self.body
        found = sections.span(self.parsed, wanted)
        if found is None:
            return None
        self.spent += found[1] - found[0]
        return sections.extract(self.body, self.parsed, wanted)

    def decoded(self, part: tuple[int, ...]) -> bytes | None:
        """Return a part's decoded octets (RFC 3516 4.2); the empty part is the whole message."""
        if not part:
            return self.section(sections.WHOLE)
        found = sections.span(self.parsed, sections.Section(part))
        if found is None:
            return None
        self.spent += found[1] - found[0]
        return sections.decoded(self.body, self.parsed, part)


async def _line(session: ImapProtocol, items: tuple[FetchItem, ...], source: Source) -> bytes:
    view, uid = session.here.view, source.row.uid
    pieces: list[bytes] = []
    held = 0
    # Twice the message, and what is said beside it, is asked for by clients in earnest.
    room = max(session.services.session_memory, 3 * source.size)
    for item in items:
        pieces.append(_piece(view, item, source))
        held += len(pieces[-1])
        if held > room or source.spent > room:
            raise Refusal("more is asked of one message than is held at once", b"LIMIT")
        if source.spent > _SPENT_AT_ONCE:
            await session.drained()
    return session.fetch_line(view.number(uid), uid, pieces)


def _piece(view: SessionView, item: FetchItem, source: Source) -> bytes:
    row = source.row
    if isinstance(item, Attribute):
        return _attribute(view, item, row)
    if isinstance(item, BodySection):
        return responses.piece_section(item.name, cut(source.section(item.section), item.partial))
    data = source.decoded(item.part)
    if isinstance(item, Binary):
        return responses.piece_binary(item.name, cut(data, item.partial))
    return responses.piece_number(item.name, len(data or b""))


def _attribute(view: SessionView, item: Attribute, row: FetchRow) -> bytes:
    if item is Attribute.ENVELOPE:
        return responses.piece_raw(b"ENVELOPE", row.envelope or b"NIL")
    if item is Attribute.BODYSTRUCTURE:
        return responses.piece_raw(b"BODYSTRUCTURE", row.structure or b"NIL")
    if item is Attribute.SIZE:
        return responses.piece_size(row.size or 0)
    if item is Attribute.INTERNALDATE and row.internal_date is not None:
        return responses.piece_internal_date(row.internal_date)
    if item is Attribute.BODY:
        return responses.piece_raw(b"BODY", row.body or b"NIL")
    if item is Attribute.EMAILID and row.email is not None:
        return object_id.EMAIL % row.email
    if item is Attribute.THREADID and row.thread is not None:
        return object_id.THREAD % row.thread
    if item is Attribute.SAVEDATE and row.save_date is not None:
        return responses.piece_raw(b"SAVEDATE", responses.internal_date(row.save_date))
    if item is Attribute.PREVIEW:
        return responses.piece_raw(b"PREVIEW", responses.preview((row.preview or "").encode("utf-8", "replace")))
    return _known(view, item, row.uid)


def cut(data: bytes | None, partial: Partial | None) -> bytes | None:
    """Return the octets that a partial names; all without one."""
    if data is None or partial is None:
        return data
    return data[partial.first : partial.first + partial.count]
