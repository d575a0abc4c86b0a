"""Case V1: random commands of several sessions, each checked against a naive list of what its client was told."""

import random
import re

from twisted.trial import unittest

from sora.core.flags import SEEN, Change
from sora.mail.change import Changer
from sora.mail.live import Live
from sora.store.model import Actor, FlagChange, NewMessage
from tests.dialogs.connections import MemoryClient
from tests.dialogs.script import Account, Dialog, simple
from tests.dialogs.world import MemoryWorld

SESSIONS = 3
STEPS = 120
FLAGS = ("\\Seen", "\\Deleted", "\\Flagged", "Word")
LITERAL = b"{17+}\r\nSubject: x\r\n\r\ny\r\n"
_FETCH = re.compile(rb"\* (\d+) FETCH \((.*)\)\Z")
_NUMBER = re.compile(rb"\* (\d+) (EXISTS|EXPUNGE)\Z")
_UID = re.compile(rb"UID (\d+)")
_FLAGS = re.compile(rb"FLAGS \(([^)]*)\)")


class Told:
    """What one client knows: its messages in order, each with the UID and flags it was told, or None."""

    def __init__(self, client: MemoryClient, name: str) -> None:
        self.client = client
        self.name = name
        self.messages: list[dict[str, object]] = []
        self.log: list[str] = []
        self._tags = 0

    async def do(self, command: str, *, literal: bytes = b"") -> list[bytes]:
        """Send a command, take in its answers, and return the untagged ones."""
        self._tags += 1
        tag = f"{self.name}{self._tags}"
        self.log.append(f"C: {tag} {command}")
        await self.client.send(f"{tag} {command}".encode() + literal + b"\r\n")
        quiet = command.split()[0] in ("FETCH", "STORE", "SEARCH")
        lines = []
        while True:
            line = await self.client.line()
            if line is None:
                raise AssertionError("no answer\n" + "\n".join(self.log[-30:]))
            self.log.append("S: " + line.decode())
            if line.startswith(tag.encode()):
                return lines
            self.take(line, quiet=quiet)
            lines.append(line)

    def take(self, line: bytes, *, quiet: bool = False) -> None:
        """Take in an untagged answer; `quiet` where EXPUNGE is forbidden."""
        number = _NUMBER.match(line)
        fetch = _FETCH.match(line)
        if number is not None and number[2] == b"EXISTS":
            self.check(int(number[1]) >= len(self.messages), "EXISTS went down")
            self.messages += [{} for _ in range(int(number[1]) - len(self.messages))]
        elif number is not None:
            self.check(not quiet, "EXPUNGE in answer to FETCH, STORE or SEARCH")
            self.check(1 <= int(number[1]) <= len(self.messages), "EXPUNGE of a number never told")
            del self.messages[int(number[1]) - 1]
        elif fetch is not None:
            self.check(1 <= int(fetch[1]) <= len(self.messages), "FETCH of a number never told")
            self._fetched(self.messages[int(fetch[1]) - 1], fetch[2])

    def _fetched(self, message: dict[str, object], items: bytes) -> None:
        uid, flags = _UID.search(items), _FLAGS.search(items)
        if uid is not None:
            self.check(message.setdefault("uid", int(uid[1])) == int(uid[1]), "a number's UID changed")
        if flags is not None:
            message["flags"] = {word for word in flags[1].decode().split() if word != "\\Recent"}

    def check(self, condition: bool, why: str) -> None:
        """Fail with what was said."""
        if not condition:
            raise AssertionError(f"{why}\n" + "\n".join(self.log[-30:]))

    def silently(self, numbers: range, sign: str, flag: str) -> None:
        """Assume what a client assumes after STORE .SILENT."""
        for number in numbers:
            flags = self.messages[number - 1].get("flags")
            if isinstance(flags, set):
                self.messages[number - 1]["flags"] = flags | {flag} if sign == "+" else flags - {flag}


class Sessions:
    """Several sessions in one mailbox, acting at random."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311  the same story each time
        self.told: list[Told] = []

    @staticmethod
    def dialog() -> Dialog:
        """One account with a few messages and a second mailbox."""
        account = Account("demo@example.org", "secret", [], [("Work", None, False)])
        account.messages = [("INBOX", [], b"", simple(number)) for number in range(5)]
        return Dialog("views", [account], {}, (), [])

    async def begin(self, world: MemoryWorld | None = None) -> None:
        """Sign everyone in and select; over a world in memory unless another one is ready."""
        if world is None:
            world = MemoryWorld(self.dialog())
            await world.set_up()
            world.factory = world.imap()
        self.world = world
        for index in range(SESSIONS):
            told = Told(await self.world.connect(), "abc"[index])
            await told.client.line()
            await told.do("LOGIN demo@example.org secret")
            await told.do("SELECT INBOX")
            self.told.append(told)

    async def step(self, told: Told | None = None) -> None:
        """One session does something."""
        told = told or self.chance.choice(self.told)
        count = len(told.messages)
        first = self.chance.randint(1, max(count, 1))
        last = self.chance.randint(first, max(first, count))
        numbers = f"{first}:{last}"
        match self.chance.randrange(11):
            case 0 | 1:
                await told.do("APPEND INBOX ", literal=LITERAL)
            case 2:
                await told.do(self.chance.choice(["NOOP", "CHECK", "UID FETCH 1:* FLAGS", "UID SEARCH SEEN"]))
            case 3 | 4 | 5 if count:
                await self.store(told, first, last)
            case 6:
                await told.do("EXPUNGE")
            case 7 if count:
                await told.do(f"MOVE {numbers} {self.chance.choice(['INBOX', 'Work'])}")
            case 8 if count and count < 60:
                await told.do(f"COPY {numbers} INBOX")
            case 9 if count:
                await told.do(self.chance.choice([f"FETCH {numbers} BODY[TEXT]", "SEARCH DELETED"]))
            case 10:
                await self.idle(told)
        await self.numbers_stand(told)

    async def store(self, told: Told, first: int, last: int) -> None:
        """Change a flag, silently or not."""
        sign, flag = self.chance.choice("+-"), self.chance.choice(FLAGS)
        silent = self.chance.choice(["", ".SILENT"])
        if silent:
            told.silently(range(first, last + 1), sign, flag)
        await told.do(f"STORE {first}:{last} {sign}FLAGS{silent} ({flag})")

    async def idle(self, told: Told) -> None:
        """Idle while another session appends."""
        other = self.chance.choice([one for one in self.told if one is not told])
        await told.client.send(b"idle IDLE\r\n")
        await other.do("APPEND INBOX ", literal=LITERAL)
        await told.client.send(b"DONE\r\n")
        line = await told.client.line()
        while line is not None and not line.startswith(b"idle"):
            told.log.append("S: " + line.decode())
            told.take(line)
            line = await told.client.line()
        told.check(line is not None, "IDLE was not answered")

    async def numbers_stand(self, told: Told) -> None:
        """All numbers the client knows have the UIDs it was told, ascending."""
        count = len(told.messages)
        if not count:
            return
        await told.do("FETCH 1:* (UID)")
        uids = [message.get("uid") for message in told.messages[:count]]
        told.check(None not in uids and uids == sorted(set(uids)), f"the UIDs are {uids}")

    async def all_agree(self) -> None:
        """At rest, every client knows exactly what is in the store."""
        account = self.world.ids["demo@example.org"]
        opened = await self.world.store.mailboxes.open(account, "INBOX", claim_recent=False)
        for told in self.told:
            await told.do("NOOP")
            silent = [(message.get("uid"), message.get("flags")) for message in told.messages]
            before = dict(silent)
            if told.messages:
                await told.do("FETCH 1:* (UID FLAGS)")
            told.check([m["uid"] for m in told.messages] == list(opened.columns.uids), "the messages differ")
            for message in told.messages:
                known = before.get(message["uid"])
                told.check(known is None or known == message["flags"], f"the flags of {message['uid']} were {known}")


class ViewTests(unittest.TestCase):
    """Case V1."""

    async def test_v1_no_session_is_ever_told_what_does_not_fit(self) -> None:
        for seed in range(12):
            sessions = Sessions(seed)
            await sessions.begin()
            for step in range(STEPS):
                await sessions.step()
                if step % 20 == 19:
                    await sessions.all_agree()
            await sessions.all_agree()


class LateFeed:
    """A feed that says nothing yet: another process's change was committed, its announcement is on the way."""

    def subscribe(self, mailbox: object, listener: object) -> object:
        """Remember nobody."""
        return lambda: None

    def follow(self, listener: object) -> object:
        """Remember nobody."""
        return lambda: None


class OwnWritesTests(unittest.TestCase):
    """Case V5: what a session takes in of its own writes never stands in the way of what others did before."""

    async def setUp(self) -> None:
        account = Account("demo@example.org", "secret", [], messages=[("INBOX", [], b"", simple(1))])
        self.world = MemoryWorld(Dialog("own", [account], {}, (), []))
        await self.world.set_up()
        self.store = self.world.store
        self.owner = self.world.ids["demo@example.org"]
        live = Live(self.store.mailboxes, LateFeed())
        self.mailbox = await live.open(self.owner, "INBOX", claim_recent=False)
        self.changer = Changer(self.store.messages)
        body = await self.world.appender.prepare(simple(2), account=self.owner, domain="example.org")
        await self.store.messages.insert([NewMessage(self.mailbox.row.id, body)])

    async def shows_all(self) -> None:
        """After a refresh, everything in the store is in the version."""
        await self.mailbox.refresh()
        self.assertEqual(list(self.mailbox.version.uids), [1, 2])

    async def test_a_store_that_changes_nothing_hides_no_arrival(self) -> None:
        await self.changer.store(self.mailbox, [FlagChange((1,), Change.REMOVE, SEEN, ())])
        await self.shows_all()

    async def test_an_expunge_of_nothing_hides_no_arrival(self) -> None:
        await self.changer.expunge(self.mailbox, None, Actor(self.owner, "demo@example.org", "imap", "s"))
        await self.shows_all()

    async def test_a_store_that_changes_something_hides_no_arrival(self) -> None:
        await self.changer.store(self.mailbox, [FlagChange((1,), Change.ADD, SEEN, ())])
        await self.shows_all()
