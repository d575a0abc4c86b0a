"""The IMAP connection: takes the framer's events one after the other, has each command carried out, answers.

What a command may do to the state is in its family's file; here is what holds for all of them: which
commands a state allows, how an error becomes NO or BAD, when changes by others are announced
(RFC 3501 7: never EXPUNGE in answer to FETCH, STORE or SEARCH), and how a connection ends.
"""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure

from sora.auth.login import SignedIn
from sora.core import limits
from sora.core.errors import ReadOnly, SoraError
from sora.core.rights import ALL, Rights
from sora.core.uidset import runs
from sora.front.imap import admission
from sora.front.imap.peer import Incoming, Peer, Wake
from sora.front.imap.progress import LONG, Progress
from sora.front.imap.services import ImapServices
from sora.imap import codes, commands, framer, responses, states, uid_only
from sora.imap.parse import parse
from sora.imap.tokens import BadSyntax
from sora.imap.view import Announcement, Expunges, SessionView
from sora.mail.live import OpenMailbox
from sora.observe import log as lines
from sora.observe import metrics
from sora.store.model import Actor

if TYPE_CHECKING:
    from sora.front.imap.context import Contexts
    from sora.front.imap.notify import Watch


_LINES_AT_ONCE: Final = 5_000
"""Untagged lines written before others have their turn."""
_STOPPING: Final = "the server is stopping, please reconnect"


@attrs.frozen
class Done:
    """How a command ended well: the tagged OK's text and response code."""

    text: str
    code: bytes = b""
    expunges: Expunges = Expunges.ALLOWED
    """Whether EXPUNGE may be announced before the tagged answer."""
    then: Callable[[], None] | None = None
    """What happens once the answer has left: another layer below the conversation begins (RFC 3501 6.2.1, RFC 4978)."""


class Refusal(Exception):
    """A command ends with NO (or BAD), for a reason that is no `SoraError`."""

    def __init__(self, text: str, code: bytes = b"", *, bad: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.code = code
        self.bad = bad


@attrs.define
class Selected:
    """The selected mailbox of a session."""

    name: str
    mailbox: OpenMailbox
    view: SessionView
    read_only: bool
    hush: Callable[[], None]
    """Stops the notification of changes."""
    examined: bool = False
    """Whether it was opened by EXAMINE, and stays read-only whatever rights come."""
    contexts: "Contexts | None" = None
    """Its searches that go on (RFC 5267)."""
    keywords_told: int = 0
    """How many of the mailbox's keywords the client knows."""


C = TypeVar("C", contravariant=True)
Run = Callable[["ImapProtocol", C], Awaitable[Done]]
HANDLERS: Final[dict[type, Run[Any]]] = {}
"""One entry a command class, made by `handles` in the files of the command families."""
_COUNTERS: Final[dict[type, Any]] = {}
"""Their counters."""


def handles(kind: type) -> Callable[[Run[C]], Run[C]]:
    """Register the coroutine that carries out the commands of a class."""

    def register(run: Run[C]) -> Run[C]:
        HANDLERS[kind] = run
        _COUNTERS[kind] = metrics.IMAP_COMMANDS.labels(kind.__name__.lower())
        return run

    return register


class ImapProtocol(Peer):
    """One client's connection."""

    log = Logger()

    def __init__(self, services: ImapServices, *, secure: bool, peer: str, refusal: str | None = None) -> None:
        """Serve a peer, or say BYE with the reason of a `refusal`."""
        super().__init__(services, secure=secure, peer=peer)
        self._refusal = refusal
        self.user: SignedIn | None = None
        self.selected: Selected | None = None
        self.condstore = False
        """Whether MODSEQ is to be announced (RFC 7162 3.1)."""
        self.enabled: set[str] = set()
        """What ENABLE has switched on, in capitals."""
        self.rights: Rights = ALL
        """What the user may do in the selected mailbox."""
        self._rights_may_be_old = False
        """Whether they have to be looked at again before anything is told: in IDLE, and between commands."""
        self.leaving = False
        self.idling = False
        self._busy = False
        """Whether a command is being carried out."""
        self._stopping = False
        self._overdue = False
        """Whether the present command was given up because it took too long."""
        self.name = secrets.token_hex(6)
        self.tag = b""
        """The present command's tag."""
        self._by_uid = False
        """Whether the present command names messages by UID, so that what it causes to be told does too."""
        self._bad = 0
        self.progress = Progress(self)
        self.notify: Watch | None = None
        """What the client is told of beyond the answers to its commands (RFC 5465)."""
        self._woken = False
        """Whether a wake-up waits."""
        self._silent = False
        """Whether the client does not want to be told of the selected mailbox after the present command."""
        self._on_end: list[Callable[[ImapProtocol], None]] = []

    # ------------------------------------------------------------ what command families use

    @property
    def state(self) -> states.State:
        """The session's state (RFC 3501 3)."""
        if self.user is None:
            return states.State.NOT_AUTHENTICATED
        return states.State.AUTHENTICATED if self.selected is None else states.State.SELECTED

    @property
    def signed_in(self) -> SignedIn:
        """Who uses this connection; the state check has made sure that there is someone."""
        if self.user is None:
            raise RuntimeError("no one has signed in")
        return self.user

    @property
    def here(self) -> Selected:
        """The selected mailbox; the state check has made sure that there is one."""
        if self.selected is None:
            raise RuntimeError("no mailbox is selected")
        return self.selected

    def refuse_read_only(self) -> None:
        """Raise `ReadOnly` if the selected mailbox was opened by EXAMINE."""
        if self.here.read_only:
            raise ReadOnly("the mailbox is open read-only")

    @property
    def actor(self) -> Actor:
        """Who acts, for tombstones."""
        return Actor(self.signed_in.account, self.signed_in.address, "imap", self.name)

    @property
    def capabilities(self) -> bytes:
        """The capability list of the present state."""
        if self.user is not None:
            return states.capabilities(
                states.State.AUTHENTICATED,
                plaintext_permitted=True,
                hidden=self.hidden,
                append_max=self.services.append_max,
            )
        return states.capabilities(
            states.State.NOT_AUTHENTICATED,
            plaintext_permitted=self.plaintext,
            starttls=self.starttls,
            hidden=self.hidden,
        )

    def offers(self, name: str) -> bool:
        """Tell whether a capability, in capitals, is advertised now: what is not advertised is not accepted."""
        return states.offers(name.encode("ascii"), self.capabilities)

    @property
    def rev2(self) -> bool:
        """Whether the client has enabled IMAP4rev2: ESEARCH for SEARCH, no \\Recent, LIST in SELECT (RFC 9051 E)."""
        return "IMAP4REV2" in self.enabled

    @property
    def utf8(self) -> bool:
        """Whether strings and names are UTF-8 in both directions (RFC 6855 3, RFC 9051 5.1)."""
        return "UTF8=ACCEPT" in self.enabled or "IMAP4REV2" in self.enabled

    def follow_modseqs(self) -> None:
        """Announce modseqs from now on; the first time, say up to where the client knows the selected mailbox.

        RFC 7162 3.1: what turns CONDSTORE on is answered with HIGHESTMODSEQ.
        """
        if not self.condstore:
            self.condstore = True
            if self.selected is not None:
                code = responses.highest_modseq(self.selected.view.settled)
                self.send(responses.untagged_ok("changes come with MODSEQ", code=code))

    def forget(self) -> None:
        """Forget who the client is and all that it has set, except for ID and TLS (RFC 8437 4.1)."""
        self.unselect()
        self._sign_out()
        self.stop_notifying()
        self.enabled.clear()
        self.condstore = False
        self.framer.authenticated = False
        self.expire_in(limits.UNAUTHENTICATED_TIME_MAX)

    def _sign_out(self) -> None:
        user, self.user = self.user, None
        if user is not None:
            self.services.leave(user.account)

    def stop_notifying(self) -> None:
        """Tell the client of the selected mailbox only, with the answers to its commands (RFC 5465 3.1)."""
        if self.notify is not None:
            self.notify.stop()
            self.notify = None
        self._silent = False

    def wake(self) -> None:
        """Have a waiting IDLE, or NOTIFY, look what is new; whoever does not wait looks after its next command."""
        if (self.idling or self.notify is not None) and not (self.lost or self._woken):
            self._woken = True
            self.push(Wake())

    async def tell_news(self) -> None:
        """Tell what has happened since, to a client that waits for it."""
        self._woken = False
        self._rights_may_be_old = True
        if self.notify is not None:
            self._silent = False
            await self.notify.tell(idle=self.idling)
        elif self.idling:
            await self.announce_paced(Expunges.ALLOWED)

    def unselect(self) -> None:
        """Leave the selected mailbox."""
        if self.selected is not None:
            selected, self.selected = self.selected, None
            selected.hush()
            selected.mailbox.close()

    @property
    def qresync(self) -> bool:
        """Whether VANISHED takes the place of EXPUNGE (RFC 7162 3.2.10, RFC 9586)."""
        return "QRESYNC" in self.enabled or "UIDONLY" in self.enabled

    @property
    def uid_only(self) -> bool:
        """Whether messages are named by UIDs alone (RFC 9586)."""
        return "UIDONLY" in self.enabled

    def fetch_lines(
        self,
        pairs: Sequence[tuple[int, int]],
        shape: Sequence[bytes],
        columns: Sequence[Sequence[bytes] | Sequence[int]],
        *,
        asked: bool = False,
    ) -> bytes:
        """Write FETCH answers for (number, UID) as this client counts messages: UIDFETCH if by UID alone.

        That needs no item UID as well, unless the client has `asked` for all that is in the shape (RFC 9586 3).
        """
        if self.uid_only:
            if not asked:
                shape, columns = uid_only.said_once(shape, columns)
            return responses.fetch_lines(shape, [[uid for _, uid in pairs], *columns], word=responses.UIDFETCH)
        return responses.fetch_lines(shape, [[number for number, _ in pairs], *columns])

    def fetch_line(self, number: int, uid: int, pieces: Sequence[bytes]) -> bytes:
        """Write one FETCH answer as `fetch_lines` does."""
        if self.uid_only:
            return responses.fetch(uid, pieces, word=responses.UIDFETCH)
        return responses.fetch(number, pieces)

    def announce(self, expunges: Expunges) -> None:
        """Tell the client what changed in the selected mailbox since it was last told."""
        selected = self.selected
        if selected is None:
            return
        if selected.mailbox.deleted:
            self.goodbye("the selected mailbox was deleted")
            return
        if self._silent:
            return
        self.tell(selected.view.update(selected.mailbox.version, expunges))
        if expunges is Expunges.FORBIDDEN:
            self._tell_settled()

    async def announce_paced(self, expunges: Expunges, *, answering: bool = True) -> None:
        """Announce what may be very much, so that the client can take it and others have their turn.

        Not `answering` a command: nothing is said if there is no news.
        """
        selected = self.selected
        if selected is None or selected.mailbox.deleted or self._silent:
            self.announce(expunges)
            return
        if self._rights_may_be_old and not await admission.hears(self):
            return
        before = selected.view.uids
        news = selected.view.update(selected.mailbox.version, expunges)
        if news.expunged and selected.contexts is not None:
            selected.contexts.leaving(self, before)
        told = bool(news)
        if told:
            await self._tell_paced(news)
        if expunges is Expunges.FORBIDDEN and (answering or told):
            self._tell_settled()
        if selected.contexts is not None:
            await selected.contexts.settle(self)
        if self.notify is not None:
            await self.notify.show_new()

    async def _tell_paced(self, news: Announcement) -> None:
        gone = news.vanished if self.qresync else news.expunged
        for start in range(0, len(gone), _LINES_AT_ONCE):
            self._tell_gone(gone[start : start + _LINES_AT_ONCE])
            await self.drained()
        news.expunged = news.vanished = []
        changed, news.changed = news.changed, []
        self.tell(news)
        for start in range(0, len(changed), _LINES_AT_ONCE):
            self._tell_flags(changed[start : start + _LINES_AT_ONCE])
            await self.drained()

    def tell(self, news: Announcement) -> None:
        """Write an announcement: EXPUNGEs, then EXISTS and RECENT, then flags."""
        if not news:
            return
        if news.expunged:
            self._tell_gone(news.vanished if self.qresync else news.expunged)
        if news.exists is not None:
            self.send(responses.exists(news.exists))
        if news.recent is not None:
            self.send(responses.recent(news.recent))
        self._tell_flags(news.changed)

    def _tell_gone(self, gone: Sequence[int]) -> None:
        """Tell of messages that are gone: UIDs to who takes VANISHED, numbers to others."""
        self.send(responses.vanished(runs(gone)) if self.qresync else responses.expunges(gone))

    def _tell_settled(self) -> None:
        """Say how far a client may believe to know everything while expunges wait (RFC 7162 3.2)."""
        if self.qresync and self.here.view.waiting:
            code = responses.highest_modseq(self.here.view.settled)
            self.send(responses.untagged_ok("more has happened", code=code))

    def _tell_flags(self, changed: Sequence[tuple[int, int]]) -> None:
        if not changed or (self.notify is not None and not self.notify.flags):
            return
        view = self.here.view
        shape = [responses.SHAPE_FLAGS]
        columns: list[Sequence[bytes] | Sequence[int]] = [self.flag_texts(changed)]
        # Whoever did not ask, or asked by UID, is told it: RFC 3501 6.4.8, RFC 5465 5.1, RFC 7162 3.2.4, RFC 9051 E 21.
        if self.condstore or self.rev2 or self._by_uid or (self.notify is not None and self.notify.by_uid):
            shape, columns = [responses.SHAPE_UID, *shape], [[uid for _, uid in changed], *columns]
        if self.condstore:
            shape.append(responses.SHAPE_MODSEQ)
            columns.append(view.modseqs(changed))
        self.send(self.fetch_lines(changed, shape, columns))

    def flag_texts(self, pairs: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the flags of each (number, UID), of whose keywords the client has been told."""
        self.tell_keywords()
        return self.here.view.flag_texts(pairs)

    def tell_keywords(self) -> None:
        """Tell which flags there are if there are more by now: Alpine shows no keyword that it was not told of."""
        here = self.here
        if here.keywords_told != len(here.mailbox.keywords):
            admission.tell_flags(self)

    def _expunge_issued(self) -> bytes:
        """Return the code that tells a client of expunges which it cannot be told of now (RFC 5530 3)."""
        waits = self.selected is not None and self.selected.view.waiting
        return b"EXPUNGEISSUED" if waits else b""

    def goodbye(self, text: str) -> None:
        """Say BYE; the connection closes when the present command has ended."""
        self.send(responses.bye(text))
        self.leaving = True

    # ------------------------------------------------------------ the conversation

    def feed(self, data: bytes) -> list[Incoming]:
        return list(self.framer.feed(data))

    def follow(self, events: list[framer.Event]) -> None:
        """Take the events that a decision about the framer set free."""
        for event in events:
            self.push(event)

    async def converse(self) -> None:
        lines.protocol.set("imap")
        lines.session.set(self.name)
        if self._refusal is not None:
            self.send(responses.bye(self._refusal, code=b"LIMIT"))
            return
        self.expire_in(limits.UNAUTHENTICATED_TIME_MAX)
        await self.introduced()
        self.send(responses.greeting(self.capabilities, self.services.greeting))
        while not self.leaving:
            event = await self.receive()
            self._busy = True
            await self._take(event)
            self._busy = False
            if self._stopping and not self.leaving:
                self.goodbye(_STOPPING)

    async def _take(self, event: Incoming) -> None:
        match event:
            case framer.Command():
                await self._command(event)
                if event.name in framer.WAITS_AFTER:
                    # Not after the others: the framer may wait for the end of one that came with them.
                    self.follow(self.framer.resume())
            case framer.LiteralOffered():
                self.send(responses.continuation())
                self.follow(self.framer.accept())
            case framer.Refused():
                self.send(codes.refused(event))
                self._count_bad()
            case framer.Malformed():
                self.send(responses.bad(event.tag, event.reason))
                self._count_bad()
            case framer.Fatal():
                self.goodbye(event.reason)
            case framer.Line():
                self.follow(self.framer.resume())
            case Wake():
                await self.tell_news()

    async def _command(self, event: framer.Command) -> None:
        tag = self.tag = event.tag
        try:
            done = await self._carry_out(event)
        except BadSyntax as error:
            self.send(responses.bad(tag, str(error)))
            self._count_bad()
        except Refusal as answer:
            self._refuse(answer)
        except CancelledError:
            if not self._overdue or self.lost:
                raise
            self._overdue = False
            self._refuse(Refusal("the command took too long and was given up; what it has changed stays", b"LIMIT"))
        except SoraError as error:
            self._fail(error, creatable=event.name in codes.CREATABLE)
        except Exception:  # noqa: BLE001  the boundary: what arrives here is a bug, and the session goes on
            self.log.failure("a command broke: {name}", name=event.name.decode("ascii", "replace"))
            self.send(responses.no(tag, "an internal error; it has been logged", code=b"SERVERBUG"))
        else:
            await self._succeed(done)
        self._by_uid = False
        if self.progress.running:
            self.progress.end()
        if self.user is not None and not self.leaving:
            self.expire_in(self.services.idle_timeout)

    async def _succeed(self, done: Done) -> None:
        self.progress.unbounded()
        await self.announce_paced(done.expunges)
        code = done.code
        if done.expunges is Expunges.FORBIDDEN and not code:
            code = self._expunge_issued()
        self.send(responses.ok(self.tag, done.text, code=code))
        if done.then is not None:
            self.flush()
            done.then()
        if self.user is not None:
            self._bad = 0

    def _refuse(self, answer: Refusal) -> None:
        write = responses.bad if answer.bad else responses.no
        self.announce(Expunges.FORBIDDEN)
        self.send(write(self.tag, answer.text, code=answer.code))
        if answer.bad or self.user is None:
            self._count_bad()

    def _fail(self, error: SoraError, *, creatable: bool) -> None:
        self.announce(Expunges.FORBIDDEN)
        self.send(codes.answer(self.tag, error, creatable=creatable))
        if self.user is None:
            self._count_bad()

    async def _carry_out(self, event: framer.Command) -> Done:
        if self.enabled:
            command = parse(event, utf8=self.utf8, one_charset="UTF8=ACCEPT" in self.enabled)
        else:
            command = parse(event)
        kind = type(command)
        unknown = kind in states.NEEDED and not states.offers(states.NEEDED[kind], self.capabilities)
        if unknown or kind is commands.UnknownCommand:
            raise Refusal("unknown command", bad=True)
        if self.state not in states.ALLOWED[kind]:
            raise Refusal(f"not allowed in the {self.state.value} state", bad=True)
        if self.enabled and self.uid_only and uid_only.names_numbers(command):
            raise Refusal("messages are named by UIDs alone", b"UIDREQUIRED", bad=True)
        handler = HANDLERS[kind]
        _COUNTERS[kind].inc()
        self._by_uid = event.name.startswith(b"UID ")
        if self.selected is not None:
            command = await self._admitted(command)
        self._rights_may_be_old = kind is commands.Idle
        if kind in LONG:
            self.progress.begin(bounded=kind is not commands.Fetch)
        if self.notify is None:
            return await handler(self, command)
        self._silent = not self.notify.tells(command)
        done: Done = await handler(self, command)
        if self.notify is not None:
            self.notify.did(command)
        return done

    async def _admitted(self, command: commands.Command) -> commands.Command:
        """Return a command as far as the rights in the selected mailbox let it be carried out."""
        try:
            return await admission.admitted(self, command)
        except admission.Lost:
            self.unselect()
            self.goodbye(admission.GONE)
            raise Refusal(admission.GONE, b"NONEXISTENT") from None

    def _count_bad(self) -> None:
        self._bad += 1
        if self._bad >= limits.BAD_COMMANDS_MAX:
            self.goodbye("too many errors")

    # ------------------------------------------------------------ endings

    def expire(self) -> None:
        if self._busy and not self.idling and self.user is not None:
            # A command has bounds of its own, and its client waits for the answer; IDLE has none but this.
            self.expire_in(self.services.idle_timeout)
        elif not self.lost:
            self.send(responses.bye("idle for too long"))
            self.close()

    def give_up(self) -> None:
        """End the present command, which has taken too long; the session goes on."""
        if self._running is not None:
            self._overdue = True
            self.log.warn("a command took too long and was given up: {tag}", tag=self.tag.decode("ascii", "replace"))
            self._running.cancel()

    def garbled(self, reason: str) -> None:
        self.send(responses.bye(reason))

    def broke(self, failure: Failure) -> None:
        self.send(responses.bye("an internal error; it has been logged"))

    def ended(self) -> None:
        self.wheel.forget(self.progress)
        self.unselect()
        self.stop_notifying()
        self._sign_out()
        self.services.left(self)
        for tell in self._on_end:
            tell(self)

    def on_end(self, tell: "Callable[[ImapProtocol], None]") -> None:
        """Have `tell` called when the connection is gone."""
        self._on_end.append(tell)

    def stop(self) -> None:
        """Ask the client to come back later, and close (RFC 3501 7.1.5); a command under way ends first."""
        self._stopping = True
        if not self.lost and (self.idling or not self._busy):
            self.send(responses.bye(_STOPPING))
            self.close()
