"""One client of the model: it sends commands, and knows nothing but what it was told."""

import re
from typing import Any

from tests.model.account import Box
from tests.model.memory import Memory, plain, vanished
from tests.property.imap_client import ImapClient

_NUMBER = re.compile(rb"\* (\d+) (EXISTS|EXPUNGE)\Z")
_FETCH = re.compile(rb"\* (\d+) FETCH \(")
_UID = re.compile(rb"\bUID (\d+)")
_FLAGS = re.compile(rb"\bFLAGS \(([^)]*)\)")
_CODE = re.compile(r"\[([^\]]*)\]")
_KEPT = 40


class Mistake(AssertionError):
    """The server told what cannot be."""


class Gone(Exception):
    """The server said BYE or hung up."""


class Answer:
    """The tagged answer to a command and what came before it."""

    def __init__(self, tagged: str, untagged: list[bytes]) -> None:
        self.status, _, self.text = tagged.partition(" ")
        found = _CODE.match(self.text)
        self.code = found[1] if found is not None else ""
        self.untagged = untagged

    def fetched(self) -> dict[int, set[str]]:
        """Return the flags told, by UID."""
        found = {}
        for line in self.untagged:
            uid, flags = _UID.search(line), _FLAGS.search(line)
            if uid is not None and flags is not None:
                found[int(uid[1])] = plain(flags[1])
        return found


class Player:
    """A session of the user."""

    def __init__(self, connection: Any, name: str, memories: dict[int, Memory] | None = None) -> None:
        """Begin; who has `memories` (by the serials of mailboxes) resynchronises by QRESYNC."""
        self.name = name
        self.memories = memories
        self.memory: Memory | None = None
        """Of the mailbox that is selected."""
        self.box: Box | None = None
        """The mailbox that is selected."""
        self.read_only = False
        self.told: list[int | None] = []
        """UIDs by message number; None where only the number is known."""
        self.log: list[str] = []
        self._client = ImapClient(connection)
        self._connection = connection

    def check(self, condition: object, why: str) -> None:
        """Fail with what was said last."""
        if not condition:
            raise Mistake(f"{self.name}: {why}\n" + "\n".join(self.log[-_KEPT:]))

    async def greet(self) -> None:
        """Take the greeting and sign in."""
        await self._client.answer()
        self.check((await self.do("LOGIN demo@example.org secret")).status == "OK", "LOGIN was refused")
        if self.memories is not None:
            answer = await self.do("ENABLE QRESYNC")
            self.check(answer.untagged == [b"* ENABLED QRESYNC"], "QRESYNC was not enabled")

    async def hang_up(self) -> None:
        """Leave without a word."""
        await self._client.hang_up()

    async def do(self, command: str, literal: bytes | None = None) -> Answer:
        """Carry out a command; what is told on the way is taken in. Raises `Gone`."""
        self.log.append(f"C: {command}")
        text = command.encode() if literal is None else b"%b {%d+}\r\n%b" % (command.encode(), len(literal), literal)
        try:
            *untagged, tagged = await self._client.command(text)
        except AssertionError as error:
            raise Gone(str(error)) from None
        self._take_all(untagged, quiet=command.split()[0] in ("FETCH", "STORE", "SEARCH"))
        self.log.append("S: " + tagged.decode())
        if self.memory is not None:
            self.memory.take(untagged)
        return Answer(tagged.decode(), untagged)

    async def idle(self, meanwhile: Any) -> None:
        """Wait in IDLE while something happens elsewhere."""
        self.log.append("C: IDLE")
        await self._connection.send(b"i IDLE\r\n")
        self.check((await self._client.answer()).startswith(b"+"), "IDLE was not begun")
        await meanwhile()
        await self._connection.send(b"DONE\r\n")
        lines = [await self._client.answer()]
        while not lines[-1].startswith(b"i "):
            lines.append(await self._client.answer())
        self._take_all(lines[:-1])
        if self.memory is not None:
            self.memory.take(lines[:-1])
        self.check(lines[-1].startswith(b"i OK"), "IDLE did not end well")

    def _take_all(self, lines: list[bytes], *, quiet: bool = False) -> None:
        for line in lines:
            self.log.append("S: " + line.decode(errors="replace"))
            if line.startswith(b"* BYE"):
                raise Gone(line.decode())
            self._take(line, quiet=quiet)

    def _take(self, line: bytes, *, quiet: bool) -> None:
        number, fetch = _NUMBER.match(line), _FETCH.match(line)
        if number is not None and number[2] == b"EXISTS":
            count = int(number[1])
            self.check(count >= len(self.told), "EXISTS went down")
            self.told += [None] * (count - len(self.told))
        elif number is not None:
            self.check(self.memories is None, "EXPUNGE though VANISHED was asked for (RFC 7162 3.2.10)")
            self.check(not quiet, "EXPUNGE in answer to FETCH, STORE or SEARCH (RFC 3501 7.4.1)")
            self.check(1 <= int(number[1]) <= len(self.told), "EXPUNGE of a number never told")
            del self.told[int(number[1]) - 1]
        elif fetch is not None:
            self.check(1 <= int(fetch[1]) <= len(self.told), "FETCH of a number never told")
            uid = _UID.search(line)
            if uid is not None:
                known = self.told[int(fetch[1]) - 1]
                self.check(known in (None, int(uid[1])), f"number {int(fetch[1])} was UID {known}")
                self.told[int(fetch[1]) - 1] = int(uid[1])

        elif (gone := vanished(line)) is not None and not gone[0]:
            self.check(not quiet, "VANISHED in answer to FETCH, STORE or SEARCH (RFC 7162 3.2.10.2)")
            self.check(self.memories is not None, "VANISHED though nobody asked for it")
            for one in gone[1]:
                self.check(one in self.told, f"VANISHED of UID {one}, which was never told (RFC 7162 3.2.10.2)")
                self.told.remove(one)

    def forget(self) -> None:
        """Have nothing selected."""
        self.box, self.told, self.read_only, self.memory = None, [], False, None

    async def learn(self) -> dict[int, set[str]]:
        """Ask for the UID and flags of every number, and of those told with the answer; UIDs must ascend."""
        if self.memory is not None:
            return await self._learn_news(self.memory)
        flags: dict[int, set[str]] = {}
        count = 0
        while len(self.told) > count:
            count = len(self.told)
            answer = await self.do("FETCH 1:* (UID FLAGS)")
            self.check(answer.status == "OK", "FETCH was refused")
            uids = [uid for uid in self.told if uid is not None]
            self.check(len(uids) >= count, "a number without an answer")
            self.check(uids == sorted(set(uids)), "UIDs that do not ascend")
            flags = answer.fetched()
        return flags

    async def _learn_news(self, memory: Memory) -> dict[int, set[str]]:
        """Ask for the UIDs of all numbers and the flags of those UIDs that are new: all else must have been told."""
        while None in self.told or not set(self.told) <= memory.flags.keys():
            self.check((await self.do("FETCH 1:* (UID)")).status == "OK", "FETCH was refused")
            fresh = [str(uid) for uid in self.told if uid is not None and uid not in memory.flags]
            if fresh:
                self.check((await self.do(f"UID FETCH {','.join(fresh)} (FLAGS)")).status == "OK", "FETCH was refused")
        uids = [uid for uid in self.told if uid is not None]
        self.check(uids == sorted(set(uids)), "UIDs that do not ascend")
        self.check(memory.flags.keys() == set(uids), f"remembers {sorted(memory.flags)}, counts {uids}")
        return memory.flags
