"""Puts load on a server and writes down what was acknowledged: deliveries by LMTP, and one IMAP session an account."""

import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred

from sora import aio
from tests.faults import clients, oracle
from tests.faults.clients import Answer, ImapSession, LmtpSession, Lost
from tests.faults.ledger import MAILBOXES, Change, Copy, Ledger, Letter, Letters

FLAGS: Final = ("\\Seen", "\\Flagged", "\\Answered", "$Fault")
CROWDED: Final = 60
"""Messages in a mailbox from which on more go than come."""
_PAUSE: Final = 0.05


@attrs.define
class Counts:
    """What was sent and what was answered."""

    acknowledged: int = 0
    refused: int = 0
    unanswered: int = 0
    kinds: dict[str, int] = attrs.field(factory=dict)

    def add(self, kind: str) -> None:
        """Count an acknowledgement."""
        self.acknowledged += 1
        self.kinds[kind] = self.kinds.get(kind, 0) + 1


@attrs.define(eq=False)
class User:
    """An account with its ledger and its session, which may be lost."""

    ledger: Ledger
    password: str
    session: ImapSession | None = None


class Driver:
    """All of the load. Rounds begin with `begin` and end with `end`; sessions live on in between if they can."""

    def __init__(
        self, reactor: Any, *, seed: int, imap: int, lmtp: int, users: dict[str, str], senders: int = 3
    ) -> None:
        """Prepare load on two ports of loopback; `users` maps names to passwords."""
        self.reactor = reactor
        self.letters = Letters(seed)
        self.counts = Counts()
        self.users = [User(Ledger(name), password) for name, password in users.items()]
        self.problems: list[oracle.Problem] = []
        self.queue: list[tuple[Letter, str]] = []
        """Deliveries without an acknowledgement, which a mail server would try again."""
        self.acknowledged: Callable[[str], None] = lambda _: None
        """Called with the kind of each acknowledgement, the moment it comes."""
        self.lead(imap=imap, lmtp=lmtp)
        self._random = random.Random(f"{seed}/drive")
        self._senders = senders
        self._going = False
        self._tasks: list[Deferred[None]] = []
        self._ledgers = {user.ledger.user: user.ledger for user in self.users}

    def lead(self, *, imap: int, lmtp: int) -> None:
        """Have new connections go to these ports."""
        self._imap, self._lmtp = imap, lmtp

    # ------------------------------------------------------------ rounds

    def begin(self) -> None:
        """Start the load."""
        self._going = True
        works: list[Awaitable[None]] = [self._send() for _ in range(self._senders)]
        works += [self._work(user) for user in self.users]
        self._tasks = [aio.start(work) for work in works]

    async def end(self) -> None:
        """Stop the load after the answers that are under way, and wait for these."""
        self._going = False
        tasks, self._tasks = self._tasks, []
        await aio.gather(tasks)

    def close(self) -> None:
        """Hang up all sessions."""
        for user in self.users:
            if user.session is not None:
                user.session.close()

    # ------------------------------------------------------------ deliveries

    async def _send(self) -> None:
        session: LmtpSession | None = None
        while self._going:
            try:
                if session is None or session.lost:
                    session = await clients.lmtp(self.reactor, self._lmtp)
                chosen = self._random.sample(self.users, self._random.choice((1, 1, 2, 3)))
                await self._deliver(session, self.letters.write(), [user.ledger.user for user in chosen])
            except Lost:
                await aio.sleep(self.reactor, _PAUSE)
        if session is not None:
            session.close()

    async def _deliver(self, session: LmtpSession, letter: Letter, names: list[str]) -> None:
        answers: dict[str, int] = {}
        for name in names:
            self._ledgers[name].sent(letter.number)
        try:
            await session.deliver(names, letter.data, answers)
        finally:
            for name in names:
                self._note(letter, name, answers.get(name))

    def _note(self, letter: Letter, name: str, code: int | None) -> None:
        if code == 250:
            self._ledgers[name].delivered(letter.number)
            self.counts.add("deliver")
            self.acknowledged("deliver")
            return
        if code is None:
            self.counts.unanswered += 1
        else:
            self.counts.refused += 1
            if code // 100 != 4:
                self.problems.append(oracle.Problem("refused", f"{name}: letter {letter.number} was answered {code}"))
        self.queue.append((letter, name))

    async def try_again(self, limit: float, *, share: float = 0.8) -> None:
        """Deliver again what was not acknowledged, or a share of it, until it is. Raises `Lost` after `limit`."""
        queue, self.queue = self.queue, []
        again = [one for one in queue if self._random.random() < share]
        for letter, name in queue:
            ledger = self._ledgers[name]
            if (letter, name) not in again and letter.number in ledger.met:
                ledger.perhaps.discard(letter.number)
        deadline = self.reactor.seconds() + limit
        session: LmtpSession | None = None
        while again:
            try:
                if session is None or session.lost:
                    session = await clients.lmtp(self.reactor, self._lmtp)
                letter, name = again[-1]
                await self._deliver(session, letter, [name])
                again.pop()
                again += self.queue
                self.queue = []
            except Lost:
                self.queue = []
                if self.reactor.seconds() > deadline:
                    raise
                await aio.sleep(self.reactor, _PAUSE)
        if session is not None:
            session.close()

    # ------------------------------------------------------------ sessions

    async def _work(self, user: User) -> None:
        """Change one account until the round ends, or a change is not answered."""
        while self._going:
            try:
                session = await self.session_of(user)
                if not session.mailbox or self._random.random() < 0.1:
                    await self._select(user, session)
                await self._step(user, session)
            except Lost:
                user.session = None
                if user.ledger.pending is not None:
                    self.counts.unanswered += 1
                    return
                await aio.sleep(self.reactor, _PAUSE)
            else:
                if user.ledger.pending is not None:
                    self.counts.refused += 1
                    return

    async def session_of(self, user: User) -> ImapSession:
        """Return the user's session, a new one if the last was lost. Raises `Lost`."""
        if user.session is None or user.session.lost:
            user.session = await clients.imap(self.reactor, self._imap, user.ledger.user, user.password)
        return user.session

    async def _select(self, user: User, session: ImapSession) -> None:
        mailbox = self._random.choice(("INBOX", *MAILBOXES))
        session.numbers, session.mailbox = [], ""
        if (await session.command(f"SELECT {mailbox}")).ok:
            session.mailbox = mailbox
            await self._learn(user, session)

    async def _learn(self, user: User, session: ImapSession) -> None:
        """See what has arrived. A range of UIDs that begins beyond the last one always names the last one."""
        if session.mailbox != "INBOX":
            return
        ledger = user.ledger
        first = ledger.known["INBOX"] + 1
        answer = await session.command(f"UID FETCH {first}:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (X-Letter)])")
        for line in answer.untagged:
            row = oracle.row_of(line)
            if row is not None and row.letter and row.uid >= first:
                self._meet(user, row)
                ledger.known["INBOX"] = max(ledger.known["INBOX"], row.uid)

    def _meet(self, user: User, row: oracle.Found) -> None:
        if not user.ledger.meet("INBOX", row.uid, row.letter, row.flags):
            text = f"{user.ledger.user} INBOX UID {row.uid}: letter {row.letter} is not expected in a session"
            self.problems.append(oracle.Problem("doubled", text))

    async def _step(self, user: User, session: ImapSession) -> None:
        await self._learn(user, session)
        if not session.mailbox or not self._going:
            await aio.sleep(self.reactor, 0.01)
            return
        box = user.ledger.copies[session.mailbox]
        uids = user.ledger.settled(session.mailbox)
        kinds = ["store", "store", "append", "move", "copy", "delete"]
        if len(box) > CROWDED:
            kinds = ["store", "delete", "delete", "delete", "move"]
        kind = self._random.choice(kinds) if uids else "append"
        some = tuple(sorted(self._random.sample(uids, min(len(uids), self._random.randrange(1, 6)))))
        if kind == "append":
            await self._append(user, session)
        elif kind in ("move", "copy"):
            target = self._random.choice([name for name in MAILBOXES if name != session.mailbox])
            await self._transfer(user, session, kind, some, target)
        elif kind == "store":
            flags = frozenset(self._random.sample(FLAGS, self._random.randrange(1, 3)))
            await self._store(user, session, some, flags, add=self._random.random() < 0.7)
        elif await self._store(user, session, some, frozenset(["\\Deleted"]), add=True) and self._going:
            await self._expunge(user, session)

    async def _change(self, user: User, session: ImapSession, change: Change, text: str, *literal: bytes) -> Answer:
        """Send a change; if it is not acknowledged it stays pending. Raises `Lost`."""
        user.ledger.pending = change
        user.ledger.note(f"{session.mailbox}: {text}")
        answer = await session.command(text, *literal)
        user.ledger.note(f"{answer.status} {answer.text.decode()} {b'; '.join(answer.untagged).decode()[:200]}")
        if answer.ok:
            user.ledger.pending = None
            user.ledger.copies, _ = change.made(user.ledger.copies, self.reactor.seconds())
            self.counts.add(change.kind)
            self.acknowledged(change.kind)
        elif answer.status == "BAD":
            self.problems.append(oracle.Problem("refused", f"{text}: {answer.text.decode()}"))
        return answer

    async def _append(self, user: User, session: ImapSession) -> None:
        letter = self.letters.write()
        flags = frozenset(self._random.sample(FLAGS[:3], self._random.randrange(0, 3)))
        mailbox = self._random.choice(MAILBOXES)
        change = Change(kind="append", mailbox=mailbox, letter=letter.number, flags=flags)
        text = f"APPEND {mailbox} ({' '.join(sorted(flags))})"
        answer = await self._change(user, session, change, text, letter.data)
        if answer.ok:
            (uid,) = oracle.uids_of(answer.text)
            user.ledger.place(mailbox, uid, Copy(letter.number, flags))

    async def _transfer(self, user: User, session: ImapSession, kind: str, uids: tuple[int, ...], target: str) -> None:
        before = {uid: attrs.evolve(user.ledger.copies[session.mailbox][uid]) for uid in uids}
        change = Change(kind=kind, mailbox=session.mailbox, uids=uids, target=target)
        written = ",".join(map(str, uids))
        answer = await self._change(user, session, change, f"UID {kind.upper()} {written} {target}")
        if answer.ok:
            told = [line for line in (answer.text, *answer.untagged) if b"COPYUID" in line]
            sources, targets = oracle.copied_of(told[0]) if told else ([], [])
            if sources != list(uids):
                self.problems.append(oracle.Problem("numbers", f"{kind} of {uids} copied {sources}"))
            for source, uid in zip(sources, targets, strict=True):
                user.ledger.place(target, uid, Copy(before[source].letter, before[source].flags))

    async def _store(
        self, user: User, session: ImapSession, uids: tuple[int, ...], flags: frozenset[str], *, add: bool
    ) -> bool:
        change = Change(kind="store", mailbox=session.mailbox, uids=uids, flags=flags, add=add)
        written = f"UID STORE {','.join(map(str, uids))} {'+' if add else '-'}FLAGS ({' '.join(sorted(flags))})"
        return (await self._change(user, session, change, written)).ok

    async def _expunge(self, user: User, session: ImapSession) -> None:
        box = user.ledger.copies[session.mailbox]
        uids = tuple(uid for uid, copy in box.items() if "\\Deleted" in copy.flags)
        change = Change(kind="expunge", mailbox=session.mailbox, uids=uids)
        await self._change(user, session, change, "EXPUNGE")
