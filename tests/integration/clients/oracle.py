"""What the server holds, read over Python's own imaplib: the judge of what every other program did."""

import hashlib
import imaplib
import re
import smtplib
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import attrs

from tests.integration.clients.lab import Account, Lab

FETCHED = re.compile(rb"\d+ \(UID (\d+) FLAGS \(([^)]*)\) BODY\[\] \{\d+\}$")
TRACE = re.compile(rb"(?:(?:Return-Path|Delivered-To|Received):[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)+\Z")
PAGE = 500


@attrs.frozen
class Held:
    """A message as the server gives it."""

    uid: int
    flags: frozenset[str]
    data: bytes

    @property
    def digest(self) -> str:
        """The SHA-256 of its bytes."""
        return digest(self.data)

    def content(self, strip: tuple[bytes, ...] = ()) -> str:
        """Return the digest, header fields that a program added for itself (`strip`) left out."""
        return digest(without_fields(self.data, strip))


def digest(data: bytes) -> str:
    """Return the SHA-256 of bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


@contextmanager
def signed_in(lab: Lab, account: Account) -> Iterator[imaplib.IMAP4]:
    """Give an imaplib connection on which the account is signed in."""
    connection = imaplib.IMAP4("127.0.0.1", lab.imap, timeout=60)
    # imaplib writes the line end after a literal on its own, which would wait for the other side's late ACK.
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        connection.login(account.address, account.password)
        yield connection
    finally:
        with suppress(imaplib.IMAP4.error, OSError):
            connection.logout()


def held(lab: Lab, account: Account, mailbox: str = "INBOX") -> list[Held]:
    """Read a whole mailbox, without changing it, in the order of UIDs; `\\Recent` is left out."""
    found: list[Held] = []
    with signed_in(lab, account) as connection:
        count = int(checked(connection.select(f'"{mailbox}"', readonly=True))[0])
        for first in range(1, count + 1, PAGE):
            last = min(first + PAGE - 1, count)
            found += map(_held, checked(connection.fetch(f"{first}:{last}", "(UID FLAGS BODY.PEEK[])"))[::2])
    return found


def _held(part: Any) -> Held:
    match = FETCHED.match(part[0])
    if match is None:
        raise AssertionError(f"not an answer to the FETCH: {part[0]!r}")
    flags = frozenset(match[2].decode().split()) - {"\\Recent"}
    return Held(int(match[1]), flags, part[1])


def mailboxes(lab: Lab, account: Account) -> set[str]:
    """Return the names of an account's mailboxes."""
    with signed_in(lab, account) as connection:
        lines = checked(connection.list())
    return {line.decode().rsplit('"/" ', 1)[1].strip('"') for line in lines}


def checked(answer: tuple[str, list[Any]]) -> list[Any]:
    """Return the data of an OK. Raises `AssertionError` for any other answer."""
    status, data = answer
    if status != "OK":
        raise AssertionError(f"the server answered {status} {data!r}")
    return data


def append(lab: Lab, account: Account, messages: Iterable[bytes], mailbox: str = "INBOX", flags: str = "") -> None:
    """Put messages into a mailbox by APPEND."""
    with signed_in(lab, account) as connection:
        for data in messages:
            when = datetime(2024, 3, 1, 12, 0, 0, tzinfo=UTC)
            checked(connection.append(f'"{mailbox}"', flags, when, data))


def change_flags(lab: Lab, account: Account, uids: Iterable[int], change: str, mailbox: str = "INBOX") -> None:
    """STORE flags: `change` as in `+FLAGS (\\Seen)`."""
    item, flags = change.split(" ", 1)
    with signed_in(lab, account) as connection:
        checked(connection.select(f'"{mailbox}"'))
        checked(connection.uid("STORE", ",".join(map(str, uids)), item, flags))


def expunge(lab: Lab, account: Account, uids: Iterable[int], mailbox: str = "INBOX") -> None:
    """Delete messages for good."""
    with signed_in(lab, account) as connection:
        checked(connection.select(f'"{mailbox}"'))
        checked(connection.uid("STORE", ",".join(map(str, uids)), "+FLAGS.SILENT", "(\\Deleted)"))
        checked(connection.expunge())


def deliver(lab: Lab, account: Account, messages: Iterable[bytes], sender: str = "sender@example.net") -> None:
    """Hand messages over by LMTP on one connection."""
    with smtplib.LMTP("127.0.0.1", lab.lmtp) as connection:
        for data in messages:
            refused = connection.sendmail(sender, [account.address], data, mail_options=["BODY=8BITMIME"])
            if refused:
                raise AssertionError(f"refused: {refused}")


def without_trace(data: bytes) -> bytes:
    """Return a delivered message without the fields that the delivery put before it."""
    place = data.find(b"From: ")
    if place > 0 and TRACE.match(data[:place]):
        return data[place:]
    return data


def without_fields(data: bytes, fields: tuple[bytes, ...]) -> bytes:
    """Return a message without the header lines that begin so."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not fields or not end:
        return data
    return b"\r\n".join(line for line in head.split(b"\r\n") if not line.startswith(fields)) + end + body


def by_content(found: Iterable[Held], strip: tuple[bytes, ...] = ()) -> dict[str, frozenset[str]]:
    """Return flags by digest. Raises `AssertionError` if two messages are equal, which none of the corpus are."""
    table: dict[str, frozenset[str]] = {}
    for one in found:
        name = one.content(strip)
        if name in table:
            raise AssertionError(f"twice the same message, UID {one.uid}")
        table[name] = one.flags
    return table
