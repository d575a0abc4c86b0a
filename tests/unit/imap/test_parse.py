"""Each command family: what is read of its arguments, and what is refused."""

from datetime import datetime, timedelta, timezone

from twisted.trial import unittest

from sora.core import flags, limits
from sora.core.errors import LimitReached, MailboxNameInvalid
from sora.core.flags import Change
from sora.core.uidset import UidSet
from sora.imap import commands as c
from sora.imap import framer
from sora.imap.parse import decode_sasl, parse
from sora.imap.tokens import BadSyntax


def read(name: bytes, *parts: bytes) -> c.Command:
    return parse(framer.Command(b"a", name, parts or (b"",)))


class ParseCase(unittest.SynchronousTestCase):
    def refuses(self, name: bytes, *texts: bytes) -> None:
        for text in texts:
            with self.assertRaises(BadSyntax, msg=text):
                read(name, text)


class AnyState(ParseCase):
    def test_commands_without_arguments(self) -> None:
        for name, expected in (
            (b"NOOP", c.Noop()),
            (b"CAPABILITY", c.Capability()),
            (b"LOGOUT", c.Logout()),
            (b"STARTTLS", c.StartTls()),
            (b"NAMESPACE", c.Namespace()),
            (b"IDLE", c.Idle()),
            (b"CHECK", c.Check()),
            (b"CLOSE", c.Close()),
            (b"UNSELECT", c.Unselect()),
            (b"EXPUNGE", c.Expunge(None)),
        ):
            self.assertEqual(read(name), expected)
            self.assertEqual(read(name, b" "), expected)
            self.refuses(name, b"x")

    def test_an_unknown_command_is_named(self) -> None:
        self.assertEqual(read(b"FROB", b"(((("), c.UnknownCommand(b"FROB"))

    def test_id_takes_a_list_nil_or_nothing(self) -> None:
        self.assertEqual(read(b"ID"), c.Id(None))
        self.assertEqual(read(b"ID", b"NIL"), c.Id(None))
        self.assertEqual(read(b"ID", b"()"), c.Id(()))
        self.assertEqual(read(b"ID", b'("name" ', b"Mail", b' "os" NIL)'), c.Id((("name", "Mail"), ("os", None))))
        self.refuses(b"ID", b"x", b'("name")', b'("name" "x"')
        self.assertRaises(LimitReached, read, b"ID", b"(" + b" ".join([b'"a" "b"'] * 31) + b")")


class SigningIn(ParseCase):
    def test_login_takes_atoms_strings_and_literals(self) -> None:
        for parts in ((b'joe "p w"',), (b'"joe" ', b"p w", b""), (b"", b"joe", b" ", b"p w", b"")):
            command = read(b"LOGIN", *parts)
            assert isinstance(command, c.Login)
            self.assertEqual((command.user, command.password), ("joe", "p w"))

    def test_login_takes_quoted_specials_and_brackets(self) -> None:
        command = read(b"LOGIN", b'j]oe "a\\"b\\\\c"')
        assert isinstance(command, c.Login)
        self.assertEqual((command.user, command.password), ("j]oe", 'a"b\\c'))

    def test_login_shows_no_password_when_printed(self) -> None:
        self.assertNotIn("geheim", repr(read(b"LOGIN", b"joe geheim")))

    def test_malformed_logins_are_refused(self) -> None:
        self.refuses(b"LOGIN", b"", b"joe", b"joe ", b"joe a b", b'joe "a', b'joe "a\\b"', b"joe (a)", b"j{oe x")
        self.assertRaises(BadSyntax, read, b"LOGIN", b"", b"joe\0", b" x")
        self.assertRaises(BadSyntax, read, b"LOGIN", b"", b"jo\xff", b" x")

    def test_authenticate_with_and_without_initial_response(self) -> None:
        self.assertEqual(read(b"AUTHENTICATE", b"plain"), c.Authenticate("PLAIN", None))
        self.assertEqual(read(b"AUTHENTICATE", b"PLAIN ="), c.Authenticate("PLAIN", b""))
        self.assertEqual(read(b"AUTHENTICATE", b"PLAIN AGEAYg=="), c.Authenticate("PLAIN", b"\0a\0b"))
        self.refuses(b"AUTHENTICATE", b"", b"PLAIN AGE*", b"PLAIN AGEAYg")

    def test_a_sasl_line_that_is_not_base64_is_refused(self) -> None:
        self.assertEqual(decode_sasl(b""), b"")
        for line in (b"*", b"a", b"AGEA Yg==", b"\xff\xff\xff\xff"):
            self.assertRaises(BadSyntax, decode_sasl, line)


class Mailboxes(ParseCase):
    def test_enable_lists_capabilities(self) -> None:
        self.assertEqual(read(b"ENABLE", b"condstore X"), c.Enable(("CONDSTORE", "X")))
        self.refuses(b"ENABLE", b"")

    def test_select_and_examine(self) -> None:
        self.assertEqual(read(b"SELECT", b"inBox"), c.Select("INBOX", read_only=False, written="inBox"))
        self.assertEqual(read(b"EXAMINE", b'"a b" (CONDSTORE)'), c.Select("a b", read_only=True, condstore=True))
        self.refuses(b"SELECT", b"", b"x (", b"x (FOO)", b"x y", b"a%b")

    def test_names_are_decoded(self) -> None:
        self.assertEqual(read(b"DELETE", b"Entw&APw-rfe"), c.Delete("Entwürfe"))
        self.assertEqual(read(b"SUBSCRIBE", b'"Entw\xc3\xbcrfe"'), c.Subscribe("Entwürfe"))
        self.assertEqual(read(b"UNSUBSCRIBE", b"Entwu\xcc\x88rfe"), c.Unsubscribe("Entwürfe"))
        self.assertRaises(MailboxNameInvalid, read, b"DELETE", b"&&&")

    def test_create_drops_the_separator_and_reads_special_uses(self) -> None:
        self.assertEqual(read(b"CREATE", b"a/b/"), c.Create("a/b"))
        self.assertEqual(read(b"CREATE", b"s (USE (\\sent \\Junk))"), c.Create("s", ("\\Sent", "\\Junk")))
        self.refuses(b"CREATE", b"s (USE)", b"s (USE (sent))", b"s (FOO (\\Sent))", b"s USE")

    def test_rename_takes_two_names(self) -> None:
        self.assertEqual(read(b"RENAME", b'a "b c"'), c.Rename("a", "b c"))
        self.refuses(b"RENAME", b"a", b"a b c")

    def test_status_items_come_once_and_in_order(self) -> None:
        self.assertEqual(
            read(b"STATUS", b"inbox (unseen MESSAGES UNSEEN)"),
            c.Status("INBOX", (c.StatusItem.UNSEEN, c.StatusItem.MESSAGES)),
        )
        words = b" ".join(item.value for item in c.StatusItem)
        command = read(b"STATUS", b"x (%b)" % words)
        assert isinstance(command, c.Status)
        self.assertEqual(command.items, tuple(c.StatusItem))
        self.refuses(b"STATUS", b"x", b"x ()", b"x MESSAGES", b"x (FOO)", b"x (MESSAGES")

    def test_list_lsub_and_xlist(self) -> None:
        for name in (b"LIST", b"LSUB", b"XLIST"):
            self.assertEqual(read(name, b'"" in%/*'), c.ListMailboxes(c.ListKind(name), "", patterns=("in%/*",)))
            self.refuses(name, b'""', b'"" a b', b"")
        self.refuses(b"LSUB", b'(SUBSCRIBED) "" *')

    def test_list_extended(self) -> None:
        self.assertEqual(
            read(b"LIST", b'(SUBSCRIBED RECURSIVEMATCH) "x/" (a% "b*") RETURN (CHILDREN STATUS (UNSEEN))'),
            c.ListMailboxes(
                c.ListKind.LIST,
                "x/",
                patterns=("a%", "b*"),
                selection=frozenset((c.Selection.SUBSCRIBED, c.Selection.RECURSIVEMATCH)),
                returns=frozenset((c.Return.CHILDREN,)),
                status=(c.StatusItem.UNSEEN,),
                extended=True,
            ),
        )
        self.refuses(
            b"LIST", b'(FOO) "" *', b'(RECURSIVEMATCH) "" *', b'"" ()', b'"" * RETURN', b'"" * RETURN (FOO)', b'"" * X'
        )

    def test_l4_list_patterns_are_bounded_in_length_and_number(self) -> None:
        self.assertRaises(LimitReached, read, b"LIST", b'"" ' + b"%*" * limits.IMAP_PATTERN_MAX)
        self.assertRaises(LimitReached, read, b"LIST", b"x" * 2000 + b" *")
        self.assertRaises(LimitReached, read, b"LIST", b'"" (' + b" ".join([b"*"] * 33) + b")")
        self.assertRaises(LimitReached, read, b"LIST", b'"" (' + b" ".join([b"*" * 100] * 20) + b")")

    def test_append_with_flags_date_and_literal(self) -> None:
        command = read(b"APPEND", b'in (\\Seen) " 1-Feb-2024 10:20:30 -0130" ', b"m", b"")
        assert isinstance(command, c.Append)
        (message,) = command.messages
        self.assertEqual((command.mailbox, message.flags, message.keywords), ("in", flags.SEEN, ()))
        self.assertEqual(
            message.internal_date, datetime(2024, 2, 1, 10, 20, 30, tzinfo=timezone(-timedelta(minutes=90)))
        )
        self.assertEqual((message.parts, message.utf8), ((b"m",), False))

    def test_append_of_several_messages(self) -> None:
        command = read(b"APPEND", b"in ", b"one", b" (\\Seen) ~", b"two", b" CATENATE (URL /a/;UID=1 TEXT ", b"x", b")")
        assert isinstance(command, c.Append)
        one, two, three = command.messages
        self.assertEqual((one.parts, two.parts, two.flags), ((b"one",), (b"two",), flags.SEEN))
        self.assertEqual(three.parts, (c.MessageUrl(b"/a/;UID=1"), b"x"))

    def test_utf8_is_said_of_a_message_or_a_part(self) -> None:
        for parts in ((b"in UTF8 (~", b"m", b")"), (b"in CATENATE (UTF8 (~", b"m", b"))")):
            command = read(b"APPEND", *parts)
            assert isinstance(command, c.Append)
            self.assertEqual((command.messages[0].parts, command.messages[0].utf8), ((b"m",), True))

    def test_replace_names_a_message_and_has_one(self) -> None:
        for name, by_uid in ((b"REPLACE", False), (b"UID REPLACE", True)):
            command = read(name, b"4 Drafts (\\Draft) ", b"m", b"")
            assert isinstance(command, c.Replace)
            self.assertEqual((command.number, command.mailbox, command.by_uid), (4, "Drafts", by_uid))
            self.assertEqual((command.message.parts, command.message.flags), ((b"m",), flags.DRAFT))
        self.assertRaises(BadSyntax, read, b"REPLACE", b"4 Drafts ", b"m", b" ", b"n", b"")
        self.refuses(b"REPLACE", b"4 Drafts", b"0 x", b"* x", b"1:2 x")

    def test_append_of_a_literal8_may_hold_nuls(self) -> None:
        command = read(b"APPEND", b"in ~", b"\0", b"")
        assert isinstance(command, c.Append)
        self.assertEqual(command.messages[0].parts, (b"\0",))
        self.assertRaises(BadSyntax, read, b"APPEND", b"in ", b"\0", b"")

    def test_malformed_appends_are_refused(self) -> None:
        self.refuses(b"APPEND", b"", b"in", b"in x", b'in "text"', b"in (\\Seen)")
        self.assertRaises(BadSyntax, read, b"APPEND", b"in (\\Foo) ", b"m", b"")
        self.assertRaises(BadSyntax, read, b"APPEND", b"in ", b"m", b"", b"n", b"")
        self.refuses(b"APPEND", b"in CATENATE ()", b"in CATENATE (URL)", b"in CATENATE (TEXT x)", b'in UTF8 ("x")')
        self.assertRaises(BadSyntax, read, b"APPEND", b"in UTF8 (", b"m", b")")
        self.assertRaises(BadSyntax, read, b"APPEND", b"in CATENATE (TEXT ", b"m", b"")
        for date in (b"31-Feb-2024 10:20:30 +0000", b"1-Foo-2024 10:20:30 +0000", b"01-Jan-0001 00:00:00 +2300", b"x"):
            self.assertRaises(BadSyntax, read, b"APPEND", b'in "%b" ' % date, b"m", b"")


class Selected(ParseCase):
    def test_uid_expunge_names_uids(self) -> None:
        self.assertEqual(read(b"UID EXPUNGE", b"3:5"), c.Expunge(UidSet(((3, 5),))))
        self.refuses(b"UID EXPUNGE", b"", b"x")

    def test_v8_sets_at_the_edge_of_the_numbers(self) -> None:
        for text, ranges in (
            (b"1:*", ((1, 0),)),
            (b"*:1", ((0, 1),)),
            (b"4294967295:*", ((4294967295, 0),)),
            (b"*", ((0, 0),)),
            (b"5:2,4", ((5, 2), (4, 4))),
        ):
            self.assertEqual(read(b"UID EXPUNGE", text), c.Expunge(UidSet(ranges)))
        self.refuses(b"UID EXPUNGE", b"0", b"4294967296", b"1:", b":1", b"1,,2", b"1:2:3", b"**", b"01", b"1" * 50)

    def test_l4_sets_are_bounded(self) -> None:
        text = b",".join([b"1"] * (limits.IMAP_SET_RANGES_MAX + 1))
        self.assertRaises(LimitReached, read, b"FETCH", text + b" FLAGS")

    def test_copy_and_move(self) -> None:
        numbers = UidSet(((1, 1),))
        self.assertEqual(read(b"COPY", b"1 x"), c.Copy(numbers, "x", by_uid=False))
        self.assertEqual(read(b"UID COPY", b"1 x"), c.Copy(numbers, "x", by_uid=True))
        self.assertEqual(read(b"MOVE", b"1 x"), c.Move(numbers, "x", by_uid=False))
        self.assertEqual(read(b"UID MOVE", b"1 inbox"), c.Move(numbers, "INBOX", by_uid=True))
        self.refuses(b"COPY", b"1", b"x 1", b"1 x y")

    def test_store_changes_flags(self) -> None:
        for text, change, silent in (
            (b"FLAGS", Change.REPLACE, False),
            (b"+flags", Change.ADD, False),
            (b"-FLAGS.SILENT", Change.REMOVE, True),
        ):
            self.assertEqual(
                read(b"UID STORE", b"1 " + text + b" (\\Seen $Forwarded)"),
                c.Store(
                    UidSet(((1, 1),)), change, flags=flags.SEEN, keywords=("$Forwarded",), silent=silent, by_uid=True
                ),
            )

    def test_store_takes_flags_without_parentheses_and_none(self) -> None:
        command = read(b"STORE", b"1 FLAGS \\Seen \\Deleted")
        assert isinstance(command, c.Store)
        self.assertEqual(command.flags, flags.SEEN | flags.DELETED)
        command = read(b"STORE", b"1 FLAGS ()")
        assert isinstance(command, c.Store)
        self.assertEqual((command.flags, command.keywords), (0, ()))

    def test_c15_store_unless_changed(self) -> None:
        command = read(b"STORE", b"1:2 (UNCHANGEDSINCE 0) +FLAGS (\\Recent \\Seen)")
        assert isinstance(command, c.Store)
        self.assertEqual((command.unchanged_since, command.flags), (0, flags.SEEN))

    def test_malformed_stores_are_refused(self) -> None:
        self.refuses(
            b"STORE",
            b"1",
            b"1 FLAGS",
            b"1 FOO (\\Seen)",
            b"1 *FLAGS (\\Seen)",
            b"1 FLAGS (\\Foo)",
            b"1 FLAGS (\\*)",
            b"1 FLAGS (a]b)",
            b"1 (UNCHANGEDSINCE) FLAGS ()",
            b"1 (FOO 1) FLAGS ()",
            b"1 (UNCHANGEDSINCE 9999999999999999999) FLAGS ()",
        )

    def test_l4_flags_are_bounded(self) -> None:
        many = b" ".join(b"k%d" % n for n in range(60))
        self.assertRaises(LimitReached, read, b"STORE", b"1 FLAGS (" + many + b")")
        self.assertRaises(LimitReached, read, b"STORE", b"1 FLAGS (" + b" ".join([b"x"] * 1001) + b")")
        self.assertRaises(LimitReached, read, b"STORE", b"1 FLAGS " + b" ".join([b"x"] * 1001))
