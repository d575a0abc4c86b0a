"""A client that reads IMAP answers octet by octet, knowing nothing of how the server writes them."""

import re
from typing import Any

_LITERAL = re.compile(rb"\{(\d+)\}\Z")
_VALUE = re.compile(rb'([A-Z0-9.]+(?:\[[^\]]*\])?(?:<\d+>)?) (?:~?\{(\d+)\}\r\n|"((?:[^"\\]|\\.)*)"|(NIL)|(\d+))')


class ImapClient:
    """Speaks to a server through a client of `tests.dialogs.connections`."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._tags = 0

    async def answer(self) -> bytes:
        """Return one whole response with its literals, without the CRLF that ends it."""
        whole, text = await self._line(), 0
        while (match := _LITERAL.search(whole, text)) is not None:
            whole += b"\r\n"
            text = len(whole) + int(match[1])
            while len(whole) < text + 2:
                whole += await self._line() + b"\r\n"
            whole = whole[:-2]
        return whole

    async def _line(self) -> bytes:
        line = await self._connection.line()
        if line is None:
            raise AssertionError("the server says no more")
        return bytes(line)

    async def command(self, text: bytes) -> list[bytes]:
        """Send a command and return all responses to it, the tagged one last and without its tag."""
        self._tags += 1
        tag = b"t%d " % self._tags
        await self._connection.send(tag + text + b"\r\n")
        found = [await self.answer()]
        while not found[-1].startswith(tag):
            found.append(await self.answer())
        found[-1] = found[-1][len(tag) :]
        return found

    async def ok(self, text: bytes) -> list[bytes]:
        """Send a command that must succeed and return its untagged responses."""
        *untagged, tagged = await self.command(text)
        if not tagged.startswith(b"OK"):
            raise AssertionError(f"{text[:80]!r} was answered {tagged!r}")
        return untagged

    async def fetch(self, uid: int, items: bytes) -> dict[bytes, bytes | int | None]:
        """Fetch items of one message by UID; strings as octets, NIL as None. News may follow its answer."""
        found = values((await self.ok(b"UID FETCH %d (%b)" % (uid, items)))[0])
        if found.pop(b"UID") != uid:
            raise AssertionError("another message was answered")
        return found

    async def hang_up(self) -> None:
        """Close the connection."""
        await self._connection.hang_up()


def values(line: bytes) -> dict[bytes, bytes | int | None]:
    """Read a FETCH response whose values are strings, numbers and NIL."""
    head = re.match(rb"\* \d+ FETCH \(", line)
    if head is None:
        raise AssertionError(f"no FETCH response: {line[:80]!r}")
    at, found = head.end(), dict[bytes, bytes | int | None]()
    while True:
        match = _VALUE.match(line, at)
        if match is None:
            raise AssertionError(f"not understood: {line[at : at + 80]!r}")
        at = match.end()
        name, size, quoted, nil, number = match.groups()
        if size is not None:
            found[name] = line[at : at + int(size)]
            at += int(size)
        elif nil is not None:
            found[name] = None
        else:
            found[name] = int(number) if number is not None else re.sub(rb"\\(.)", rb"\1", quoted)
        if line[at:] == b")":
            return found
        if line[at : at + 1] != b" ":
            raise AssertionError(f"a literal of the wrong length before {line[at : at + 80]!r}")
        at += 1
