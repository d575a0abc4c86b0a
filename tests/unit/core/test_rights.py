"""Rights: how they are written and what grants come to (RFC 4314)."""

from twisted.trial import unittest

from sora.core import rights
from sora.core.flags import DELETED, SEEN, SYSTEM_MASK
from sora.core.rights import Edit, Grant, parse


class RightsTests(unittest.SynchronousTestCase):
    """core/rights.py"""

    def test_all_letters_are_read_and_written_in_one_order(self) -> None:
        self.assertEqual(rights.canonical(parse("aetxkpiwsrl")), "lrswipkxtea")

    def test_the_old_rights_mean_what_they_meant(self) -> None:
        self.assertEqual(parse("lc"), parse("lkx"))
        self.assertEqual(parse("d"), parse("te"))
        for given, shown in (("lr", "lr"), ("lk", "lkc"), ("t", "td"), ("xe", "xecd"), ("", "")):
            self.assertEqual(rights.shown(parse(given)), shown)

    def test_what_is_no_right_is_refused(self) -> None:
        for letters in ("L", "lq", "l ", "0", "-l"):
            self.assertRaises(ValueError, parse, letters)

    def test_taking_wins_over_giving_in_whatever_order(self) -> None:
        given, more, taken = Grant(parse("lrs")), Grant(parse("wi")), Grant(parse("rw"), negative=True)
        for order in ((given, more, taken), (taken, more, given)):
            self.assertEqual(rights.effective(order), parse("lsi"))
        self.assertEqual(rights.effective(()), frozenset())

    def test_edits(self) -> None:
        had = parse("lr")
        self.assertEqual(rights.edited(had, Edit.ADD, parse("s")), parse("lrs"))
        self.assertEqual(rights.edited(had, Edit.REMOVE, parse("rs")), parse("l"))
        self.assertEqual(rights.edited(had, Edit.REPLACE, parse("s")), parse("s"))

    def test_each_flag_has_its_right(self) -> None:
        self.assertEqual(rights.settable(parse("s")), SEEN)
        self.assertEqual(rights.settable(parse("t")), DELETED)
        self.assertEqual(rights.settable(parse("w")), SYSTEM_MASK & ~(SEEN | DELETED))
        self.assertEqual(rights.settable(rights.ALL), SYSTEM_MASK)
        self.assertEqual(rights.settable(parse("lrie")), 0)
