"""What is written of what was found."""

from twisted.trial import unittest

from sora.imap import search_responses as r
from sora.imap.fetch_items import Range


class Answers(unittest.SynchronousTestCase):
    """SEARCH, SORT and ESEARCH."""

    def test_search_and_sort(self) -> None:
        self.assertEqual(r.numbers(b"SEARCH", r.words(())), b"* SEARCH\r\n")
        self.assertEqual(r.numbers(b"SEARCH", r.words(()), modseq=4), b"* SEARCH\r\n")
        self.assertEqual(r.numbers(b"SEARCH", r.words((2, 3))), b"* SEARCH 2 3\r\n")
        self.assertEqual(r.numbers(b"SORT", r.words((3, 2)), modseq=9), b"* SORT 3 2 (MODSEQ 9)\r\n")

    def test_esearch(self) -> None:
        everything = r.Results(minimum=1, maximum=2, count=2, everything=(1, 2), modseq=5, scores=(100, 20))
        self.assertEqual(
            r.esearch(b"a", everything, by_uid=True),
            b'* ESEARCH (TAG "a") UID MIN 1 MAX 2 COUNT 2 ALL 1:2 MODSEQ 5 RELEVANCY (100 20)\r\n',
        )
        self.assertEqual(r.esearch(b"a", r.Results(everything=()), by_uid=False), b'* ESEARCH (TAG "a")\r\n')

    def test_an_order_is_kept_and_a_range_never_falls(self) -> None:
        line = r.esearch(b"a", r.Results(everything=(5, 4, 1, 2, 3)), by_uid=True)
        self.assertEqual(line, b'* ESEARCH (TAG "a") UID ALL 5,4,1:3\r\n')

    def test_partial(self) -> None:
        for asked, found, expected in (
            (Range(1, 5), (1, 2), b"PARTIAL (1:5 1:2)"),
            (Range(1, 100, from_end=True), (), b"PARTIAL (-1:-100 NIL)"),
        ):
            line = r.esearch(b"a", r.Results(partial=(asked, found)), by_uid=False)
            self.assertEqual(line, b'* ESEARCH (TAG "a") %b\r\n' % expected)

    def test_another_mailbox(self) -> None:
        line = r.esearch(b"a", r.Results(count=1), by_uid=True, place=r.Place("Entwürfe", 7))
        self.assertEqual(line, b'* ESEARCH (TAG "a" MAILBOX "Entw&APw-rfe" UIDVALIDITY 7) UID COUNT 1\r\n')
        line = r.esearch(b"a", r.Results(count=1), by_uid=True, place=r.Place("Entwürfe", 7, utf8=True))
        self.assertIn('MAILBOX "Entwürfe"'.encode(), line)

    def test_updates(self) -> None:
        self.assertEqual(
            r.update(b'B"1', b"ADDTO", [(0, (4, 5)), (3, (9,))], by_uid=True),
            b'* ESEARCH (TAG "B\\"1") UID ADDTO (0 4:5 3 9)\r\n',
        )
        self.assertEqual(r.no_update(b"B"), b'NOUPDATE "B"')
