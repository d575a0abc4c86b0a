"""IMAP URLs of messages of the same account."""

from twisted.trial import unittest

from sora.imap import url
from sora.imap.fetch_items import Partial
from sora.imap.url import MessagePlace
from sora.mime.section import Kind, Section


class UrlTests(unittest.SynchronousTestCase):
    def test_a_message(self) -> None:
        self.assertEqual(url.parse(b"/INBOX/;UID=20"), MessagePlace("INBOX", None, 20, Section(), None))
        self.assertEqual(
            url.parse(b"/inbox;uidvalidity=385759045/;uid=20"), MessagePlace("INBOX", 385759045, 20, Section(), None)
        )

    def test_a_section_and_octets_of_it(self) -> None:
        place = url.parse(b"/a/b;UIDVALIDITY=7/;UID=4294967295/;SECTION=1.2.MIME/;PARTIAL=0.1024")
        assert place is not None
        self.assertEqual((place.mailbox, place.section), ("a/b", Section((1, 2), Kind.MIME)))
        self.assertEqual(place.partial, Partial(0, 1024))
        place = url.parse(b"/a/;UID=1/;section=header.fields%20(To%20Cc)/;PARTIAL=10")
        assert place is not None
        self.assertEqual(place.section, Section((), Kind.HEADER_FIELDS, (b"To", b"Cc")))
        assert place.partial is not None
        self.assertEqual(place.partial.first, 10)
        self.assertGreaterEqual(place.partial.count, 2**62)

    def test_octets_that_are_encoded(self) -> None:
        for text, name in (
            (b"/Sch%C3%B6n/;UID=1", "Sch\u00f6n"),
            (b"/Scho%CC%88n/;UID=1", "Sch\u00f6n"),
            (b"/a%2Fb/;UID=1", "a/b"),
            (b"/%3BUID%3D1/;UID=1", ";UID=1"),
            (b"/R&D/;UID=1", "R&D"),
        ):
            place = url.parse(text)
            assert place is not None, text
            self.assertEqual(place.mailbox, name)

    def test_what_is_no_message_of_this_account(self) -> None:
        for text in (
            b"",
            b"/",
            b"INBOX/;UID=1",
            b";UID=1",
            b"/;UID=1",
            b"//server/INBOX/;UID=1",
            b"imap://server/INBOX/;UID=1",
            b"imap:///INBOX/;UID=1",
            b"/INBOX",
            b"/INBOX;UIDVALIDITY=1",
            b"/INBOX?SUBJECT%20x",
            b"/INBOX/;UID=0",
            b"/INBOX/;UID=4294967296",
            b"/INBOX/;UID=1:2",
            b"/INBOX/;UID=1;URLAUTH=anonymous",
            b"/INBOX/;UID=1/;SECTION=",
            b"/INBOX/;UID=1/;SECTION=FROBS",
            b"/INBOX/;UID=1/;SECTION=1]%20BODY[2",
            b"/INBOX/;UID=1/;PARTIAL=1.0",
            b"/INBOX/;UID=1/;PARTIAL=1/;SECTION=1",
            b"/INBOX%/;UID=1",
            b"/INBOX%ZZ/;UID=1",
            b"/%FF/;UID=1",
            b"/a%00b/;UID=1",
            b"/INBOX/;UID=1\r\n",
        ):
            self.assertIsNone(url.parse(text), text)
