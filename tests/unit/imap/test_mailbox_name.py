"""Mailbox names on the wire and as text."""

from twisted.trial import unittest

from sora.core.errors import MailboxNameInvalid
from sora.imap.mailbox_name import canonical, decode, encode


class Names(unittest.SynchronousTestCase):
    def test_modified_utf7_both_ways(self) -> None:
        for wire, name in (
            (b"INBOX", "INBOX"),
            (b"~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語"),
            (b"a&-b", "a&b"),
            (b"&-&-", "&&"),
            (b"&2D3eAA-", "\U0001f600"),
            (b"&AOQ-&-&AOQ-", "ä&ä"),
            (b"", ""),
        ):
            self.assertEqual(decode(wire), name)
            self.assertEqual(encode(name), wire)

    def test_raw_utf8_is_taken_and_composed(self) -> None:
        self.assertEqual(decode("Entwürfe".encode()), "Entwürfe")
        self.assertEqual(decode("Entwu\u0308rfe".encode()), "Entwürfe")

    def test_malformed_names_are_refused(self) -> None:
        for wire in (
            b"&",
            b"a&b",
            b"&AOQ",
            b"&AOQ=-",
            b"&A-",
            b"&AGE-",  # hides a printable letter
            b"&AOQ-&AOQ-",  # two shifts where one would do
            b"&AOR-",  # bits left over
            b"&2D0-",  # half a surrogate pair
            b"\xff",
            b"a\r\nb",
            b"a\0b",
            b"a\x7fb",
            b"&AAA-",  # a NUL in disguise
            b"&AA0ACg-",  # CR LF in disguise
            "a\u2028b".encode(),
        ):
            with self.assertRaises(MailboxNameInvalid, msg=wire):
                decode(wire)

    def test_inbox_is_canonical_as_first_level_only(self) -> None:
        self.assertEqual(canonical("inBox"), "INBOX")
        self.assertEqual(canonical("inbox/Sub"), "INBOX/Sub")
        self.assertEqual(canonical("inboxes"), "inboxes")
        self.assertEqual(canonical("a/inbox"), "a/inbox")
