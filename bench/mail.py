"""The messages that are measured with: told apart by a number, of realistic structure, always the same."""

import base64
from datetime import UTC, datetime, timedelta
from random import Random

NAMES = ("Anna Ahrens", "Bela Bartok", "Clara Cook", "Dmitri Dorn", "Elsa Ek", "Farid Fox", "Grete Gul", "Hiro Hall")
WORDS = (
    "report", "invoice", "meeting", "holiday", "draft", "release", "question",
    "photos", "travel", "budget", "minutes", "offer", "review", "lunch",
)  # fmt: skip
_DATES = 50_000
"""Messages until dates begin again."""
FIRST_DAY = datetime(2024, 1, 1, 8, 0, tzinfo=UTC)
MINUTES_APART = 17
"""Between the dates of two messages."""
_THREAD = 8
"""Messages of a thread: each but the first answers the one before it."""


def _person(number: int) -> str:
    name = NAMES[number % len(NAMES)]
    return f"{name} <{name.split()[0].lower()}.{number % 97}@example.net>"


def _prose(number: int, octets: int) -> str:
    lines: list[str] = []
    size = 0
    while size < octets:
        start = number + len(lines)
        line = " ".join(WORDS[(start * 7 + step * 3) % len(WORDS)] for step in range(10)) + f" {start}"
        lines.append(line)
        size += len(line) + 2
    return "\r\n".join(lines)


def _noise(number: int, octets: int) -> str:
    """Return base64 lines that do not compress."""
    noise = Random(number).randbytes(octets * 3 // 4)  # noqa: S311  the same each time is what is wanted
    return base64.encodebytes(noise).replace(b"\n", b"\r\n").decode("ascii").rstrip("\r\n")


def message(number: int, octets: int) -> bytes:
    """Return message `number` of about so many octets: plain text when small, with HTML and an attachment else."""
    date = (FIRST_DAY + timedelta(minutes=MINUTES_APART * (number % _DATES))).strftime("%a, %d %b %Y %H:%M:%S +0000")
    word = WORDS[number % len(WORDS)]
    head = [
        f"Received: from relay{number % 5}.example.net (relay{number % 5}.example.net [192.0.2.{number % 250}])",
        f"\tby mx.example.org with ESMTP id Q{number:08X}; {date}",
        f"From: {_person(number)}",
        f"To: {_person(number * 3 + 1)}, {_person(number * 5 + 2)}",
        f"Subject: {word} number {number}",
        f"Date: {date}",
        f"Message-ID: <{number}.{octets}.bench@example.net>",
        "MIME-Version: 1.0",
    ]
    if number % _THREAD:
        head.append(f"In-Reply-To: <{number - 1}.{octets}.bench@example.net>")
    body = _small(number, octets - 500) if octets < 8192 else _large(number, octets - 1200)
    return ("\r\n".join((*head, *body)) + "\r\n").encode()


def _small(number: int, octets: int) -> list[str]:
    return ["Content-Type: text/plain; charset=utf-8", "", _prose(number, max(40, octets))]


def _large(number: int, octets: int) -> list[str]:
    outer, inner = f"outer{number}", f"inner{number}"
    return [
        f'Content-Type: multipart/mixed; boundary="{outer}"',
        "",
        f"--{outer}",
        f'Content-Type: multipart/alternative; boundary="{inner}"',
        "",
        f"--{inner}",
        "Content-Type: text/plain; charset=utf-8",
        "",
        _prose(number, 1500),
        f"--{inner}",
        "Content-Type: text/html; charset=utf-8",
        "",
        f"<html><body><p>{_prose(number, 2500)}</p></body></html>",
        f"--{inner}--",
        f"--{outer}",
        f'Content-Type: application/pdf; name="paper{number}.pdf"',
        f'Content-Disposition: attachment; filename="paper{number}.pdf"',
        "Content-Transfer-Encoding: base64",
        "",
        _noise(number, octets - 4500),
        f"--{outer}--",
    ]
