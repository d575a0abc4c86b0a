"""What clients say: LMTP and IMAP as steps of the load driver."""

import itertools
from collections.abc import Iterable, Iterator

from bench.engine import Script, Step

SENDER = "sender@example.net"


def lmtp_greeting() -> Script:
    """Wait for the greeting and say who we are."""
    return [Step(b"", b"220"), Step(b"LHLO client.example.net\r\n", b"250 ")]


def delivery(recipient: str, text: bytes) -> Script:
    """Deliver one message on an open connection, its envelope pipelined (RFC 2920)."""
    envelope = f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode()
    return [Step(envelope, b"354", lines=3), Step(text + b".\r\n", b"250", lines=1)]


class Imap:
    """Makes the steps of one IMAP connection, each with a tag of its own."""

    def __init__(self) -> None:
        self._tags = itertools.count(1)

    def _tag(self) -> bytes:
        return b"x%d " % next(self._tags)

    def command(self, text: str | bytes) -> Step:
        """Send a command and wait for its OK."""
        tag = self._tag()
        octets = text.encode() if isinstance(text, str) else text
        return Step(tag + octets + b"\r\n", tag, done=b"OK")

    def login(self, user: str, password: str) -> list[Step]:
        """Wait for the greeting and sign in."""
        return [Step(b"", b"* OK"), self.command(f"LOGIN {user} {password}")]

    def opened(self, user: str, password: str, mailbox: str | None = None) -> Script:
        """Sign in and select."""
        steps = self.login(user, password)
        return steps if mailbox is None else [*steps, self.command(f"SELECT {mailbox}")]

    def idle(self) -> Step:
        """Begin to IDLE (RFC 2177)."""
        return Step(self._tag() + b"IDLE\r\n", b"+ ")

    def idle_for_nothing(self) -> Script:
        """Begin to IDLE, and end it at once."""
        tag = self._tag()
        return [Step(tag + b"IDLE\r\n", b"+ "), Step(b"DONE\r\n", tag, done=b"OK")]

    def append(self, mailbox: str, text: bytes) -> Step:
        """Append with a non-synchronizing literal (RFC 7888)."""
        return self.command(b"APPEND %s {%d+}\r\n%s" % (mailbox.encode(), len(text), text))

    def phone(self, user: str, password: str, newest: int) -> Script:
        """Do what a phone does when it wakes up; `newest` is the last message's number in the inbox."""
        first, envelopes = max(1, newest - 49), max(1, newest - 19)
        return [
            *self.login(user, password),
            self.command('LIST "" "*"'),
            *(self.command(f"STATUS {box} (MESSAGES UNSEEN UIDNEXT)") for box in ("INBOX", "Drafts", "Sent", "Trash")),
            self.command("SELECT INBOX"),
            self.command(f"FETCH {first}:* (UID FLAGS)"),
            self.command(f"FETCH {envelopes}:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"),
            self.command(f"FETCH {newest} BODY.PEEK[]"),
            self.command(f"STORE {newest} +FLAGS.SILENT (\\Seen)"),
            self.command("LOGOUT"),
        ]

    def reconnect(self, user: str, password: str, known: str) -> Script:
        """Do what a phone does when its connection is back: `known` is UIDVALIDITY and HIGHESTMODSEQ of its inbox."""
        return [
            *self.login(user, password),
            self.command("ENABLE QRESYNC"),
            self.command(f"SELECT INBOX (QRESYNC ({known}))"),
            *self.idle_for_nothing(),
            self.command("LOGOUT"),
        ]


def login_and_out(user: str, password: str, count: int) -> Iterator[Script]:
    """Sign in and out again and again; each script is a connection."""
    for _ in range(count):
        imap = Imap()
        yield [*imap.login(user, password), imap.command("LOGOUT")]


def each(steps: Iterable[Step]) -> Iterator[Script]:
    """Make each step a script of its own, to be timed alone."""
    for step in steps:
        yield [step]
