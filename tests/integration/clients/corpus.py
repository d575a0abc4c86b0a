"""Messages for programs to move: the same for the same numbers, each different, and of the kinds that break clients."""

import base64
import random
from collections.abc import Callable

_WORDS = ("harbour", "lantern", "orchard", "copper", "meadow", "winter", "signal", "paper", "window", "river", "garden")


def messages(count: int, first: int = 0) -> list[bytes]:
    """Return that many messages with CRLF line ends, numbered from `first`."""
    return [message(number) for number in range(first, first + count)]


def message(number: int) -> bytes:
    """Return the message of that number."""
    dice = random.Random(number)  # noqa: S311  for variety
    head = (
        f"From: Sender {number} <sender{number}@example.net>\r\n"
        f"To: Reader <reader@example.org>\r\n"
        f"Subject: message {number:05d}\r\n"
        f"Date: {number % 28 + 1:02d} Mar 2024 {number % 24:02d}:{number % 60:02d}:00 +0000\r\n"
        f"Message-ID: <{number}.lab@example.net>\r\n"
        "MIME-Version: 1.0\r\n"
    ).encode()
    return head + _KINDS[number % len(_KINDS)](dice)


def token(number: int) -> str:
    """Return what the subject of the message of that number ends with, for finding it again."""
    return f"message {number:05d}"


def _lines(dice: random.Random, count: int) -> list[bytes]:
    return [" ".join(dice.choices(_WORDS, k=dice.randint(1, 11))).encode() for _ in range(count)]


def _plain(dice: random.Random) -> bytes:
    return b"Content-Type: text/plain; charset=us-ascii\r\n\r\n" + b"\r\n".join(_lines(dice, 12)) + b"\r\n"


def _dots(dice: random.Random) -> bytes:
    lines = [b".", b"..", b".hidden", *_lines(dice, 3), b"...", b""]
    return b"Content-Type: text/plain\r\n\r\n" + b"\r\n".join(lines) + b"\r\n"


def _eight_bit(dice: random.Random) -> bytes:
    head = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    text = "Grüße aus Köln, 日本語の手紙, письмо\r\n" * dice.randint(1, 20)
    return head + text.encode()


def _multipart(dice: random.Random) -> bytes:
    boundary = f"=_{dice.getrandbits(64):016x}"
    data = base64.encodebytes(dice.randbytes(dice.randint(100, 20_000))).replace(b"\n", b"\r\n")
    return (
        (
            f'Content-Type: multipart/mixed; boundary="{boundary}"\r\n\r\nPreamble.\r\n--{boundary}\r\n'
            "Content-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
            f"<p>Gr=FC=DFe</p>\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n"
            "Content-Disposition: attachment; filename*=utf-8''%C3%BC.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        ).encode()
        + data
        + f"--{boundary}--\r\nEpilogue.\r\n".encode()
    )


def _forwarded(dice: random.Random) -> bytes:
    inner = b"From: Inner <inner@example.net>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\n" + _plain(dice)
    return b'Content-Type: multipart/digest; boundary="d"\r\n\r\n--d\r\n\r\n' + inner + b"--d--\r\n"


def _long_line(dice: random.Random) -> bytes:
    return b"Content-Type: text/plain\r\n\r\n" + bytes(dice.choices(range(33, 127), k=990)) + b"\r\n"


def _empty(_: random.Random) -> bytes:
    return b"\r\n"


_KINDS: tuple[Callable[[random.Random], bytes], ...] = (
    _plain,
    _eight_bit,
    _multipart,
    _dots,
    _forwarded,
    _long_line,
    _empty,
)
