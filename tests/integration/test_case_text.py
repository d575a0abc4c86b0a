"""L15: text that cannot be decoded, or only at great cost, leaves a message that is read and found all the same."""

import time

from twisted.trial import unittest

from tests.dialogs.script import Account, Dialog
from tests.dialogs.world import MemoryWorld
from tests.property.imap_client import ImapClient

BUDGET = 2.0
"""Seconds of processor time for taking one in (Promise P6; the message has at most 8 MB)."""
SIZE = 2_000_000
HEAD = b"From: bob@example.net\r\nSubject: needle %d\r\nMIME-Version: 1.0\r\n"
ODD = {
    "base64 that is none": (b"text/plain; charset=utf-8", b"base64", b"!=A=\xff" * (SIZE // 5)),
    "base64 with the end missing": (b"text/plain", b"base64", b"QUJD" * (SIZE // 4) + b"Q"),
    "quoted-printable that is none": (b"text/plain", b"quoted-printable", b"=ZZ==\xe9=" * (SIZE // 7)),
    "soft line breaks only": (b"text/plain", b"quoted-printable", b"=\r\n" * (SIZE // 3)),
    "an unknown charset": (b"text/plain; charset=x-nobodys", b"8bit", b"\x80\x81\xff\r\n" * (SIZE // 5)),
    "a charset that is no text": (b"text/plain; charset=base64_codec", b"8bit", b"QUJD\r\n" * (SIZE // 6)),
    "cut UTF-8": (b"text/plain; charset=utf-8", b"8bit", b"\xe2\x82" * (SIZE // 2)),
    "UTF-7 without end": (b"text/plain; charset=utf-7", b"7bit", b"+AGE" * (SIZE // 4)),
    "UTF-16 of odd length": (b"text/plain; charset=utf-16", b"8bit", b"\xff\xfe" + b"\xd8" * (SIZE + 1)),
    "tags that never end": (b"text/html", b"8bit", b"<a <b " * (SIZE // 6)),
    "comments that never end": (b"text/html", b"8bit", b"<!-- <script> " * (SIZE // 14)),
    "entities without end": (b"text/html", b"8bit", b"&#" + b"9" * SIZE),
    "many entities": (b"text/html", b"8bit", b"&NotEqualTilde;&#x10FFFF" * (SIZE // 24)),
    "uuencode without end": (b"text/plain", b"x-uuencode", b"begin 644 a\r\n" + b"M" * SIZE),
    "NUL and nothing else": (b"text/plain", b"binary", b"\0" * SIZE),
    "combining marks": (b"text/plain; charset=utf-8", b"8bit", b"a" + "\u0301".encode() * (SIZE // 2)),
    "letters that grow when folded": (b"text/plain; charset=utf-8", b"8bit", "\ufb03\u0390".encode() * (SIZE // 5)),
}


class TextTests(unittest.TestCase):
    """A server in memory."""

    async def test_l15_what_cannot_be_decoded_is_stored_fetched_and_found_by_its_header(self) -> None:
        world = MemoryWorld(Dialog("text", [Account("demo@example.org", "secret", [])], {}, (), []))
        await world.set_up()
        world.factory = world.imap()
        client = ImapClient(await world.connect())
        await client.answer()
        await client.ok(b"LOGIN demo@example.org secret")
        await client.ok(b"SELECT INBOX")
        for uid, (name, (kind, encoding, body)) in enumerate(ODD.items(), 1):
            raw = HEAD % uid + b"Content-Type: %b\r\nContent-Transfer-Encoding: %b\r\n\r\n" % (kind, encoding) + body
            began = time.process_time()
            await client.ok(b"APPEND INBOX ~{%d+}\r\n%b" % (len(raw), raw))
            self.assertLess(time.process_time() - began, BUDGET, name)
            found = await client.ok(b'UID SEARCH SUBJECT "needle %d" SUBJECT needle' % uid)
            self.assertIn(b"* SEARCH %d" % uid, found, name)
            self.assertEqual(await world.newest("demo@example.org", "INBOX"), raw, name)
            told = await client.fetch(uid, b"RFC822.SIZE BODY.PEEK[HEADER.FIELDS (Subject)]")
            self.assertEqual(told[b"RFC822.SIZE"], len(raw), name)
            self.assertIn(b"Subject: needle %d\r\n\r\n" % uid, told.values(), name)
