"""Object identifiers on the wire."""

from twisted.trial import unittest

from sora.core.ids import EmailId, MailboxId, ThreadId
from sora.imap import object_id


class ObjectIdTests(unittest.SynchronousTestCase):
    def test_what_is_written_is_read(self) -> None:
        for number in (1, 12, 2**63 - 1):
            self.assertEqual(object_id.EMAIL % EmailId(number), b"EMAILID (M%d)" % number)
            self.assertEqual(object_id.email_of(b"M%d" % number), number)
            self.assertEqual(object_id.THREAD % ThreadId(number), b"THREADID (T%d)" % number)
            self.assertEqual(object_id.thread_of(b"T%d" % number), number)
        self.assertEqual(object_id.mailbox_id(MailboxId(7)), b"MAILBOXID (F7)")

    def test_what_nothing_can_have_is_none(self) -> None:
        for text in (
            b"",
            b"M",
            b"M0",
            b"M01",
            b"m1",
            b"T1",
            b"M1x",
            b"M-1",
            b"M1\n",
            b"M9223372036854775808",
            b"M" + b"9" * 99,
        ):
            self.assertIsNone(object_id.email_of(text), text)
        for text in (b"M1", b"T0", b"T", b"T1 "):
            self.assertIsNone(object_id.thread_of(text), text)
