"""What FETCH asks for."""

from twisted.trial import unittest

from sora.core import limits
from sora.core.errors import LimitReached
from sora.imap import commands as c
from sora.imap import framer
from sora.imap.fetch_items import Attribute, Binary, BinarySize, BodySection, FetchItem, Partial
from sora.imap.parse import parse
from sora.imap.tokens import BadSyntax
from sora.mime.section import Kind, Section


def fetch(*parts: bytes, name: bytes = b"FETCH") -> c.Fetch:
    command = parse(framer.Command(b"a", name, (b"1 " + parts[0], *parts[1:])))
    assert isinstance(command, c.Fetch)
    return command


def items(*parts: bytes) -> tuple[FetchItem, ...]:
    return fetch(*parts).items


class Items(unittest.SynchronousTestCase):
    def test_macros(self) -> None:
        fast = (Attribute.FLAGS, Attribute.INTERNALDATE, Attribute.SIZE)
        self.assertEqual(items(b"FAST"), fast)
        self.assertEqual(items(b"all"), (*fast, Attribute.ENVELOPE))
        self.assertEqual(items(b"FULL"), (*fast, Attribute.ENVELOPE, Attribute.BODY))

    def test_attributes_come_once_and_in_order(self) -> None:
        self.assertEqual(items(b"(flags UID FLAGS)"), (Attribute.FLAGS, Attribute.UID))
        for attribute in Attribute:
            self.assertEqual(items(attribute.value), (attribute,))

    def test_uid_fetch_answers_uid(self) -> None:
        self.assertEqual(fetch(b"FLAGS", name=b"UID FETCH").items, (Attribute.UID, Attribute.FLAGS))
        self.assertEqual(fetch(b"(FLAGS UID)", name=b"UID FETCH").items, (Attribute.FLAGS, Attribute.UID))

    def test_the_rfc822_items_are_sections(self) -> None:
        self.assertEqual(
            items(b"(RFC822 RFC822.HEADER RFC822.TEXT)"),
            (
                BodySection(Section((), Kind.ALL, ()), sets_seen=True, name=b"RFC822"),
                BodySection(Section((), Kind.HEADER, ()), sets_seen=False, name=b"RFC822.HEADER"),
                BodySection(Section((), Kind.TEXT, ()), sets_seen=True, name=b"RFC822.TEXT"),
            ),
        )

    def test_sections(self) -> None:
        for text, section, name in (
            (b"BODY[]", Section((), Kind.ALL, ()), b"BODY[]"),
            (b"body[text]", Section((), Kind.TEXT, ()), b"BODY[TEXT]"),
            (b"BODY[1]", Section((1,), Kind.ALL, ()), b"BODY[1]"),
            (b"BODY[1.2.mime]", Section((1, 2), Kind.MIME, ()), b"BODY[1.2.MIME]"),
            (b"BODY[3.HEADER]", Section((3,), Kind.HEADER, ()), b"BODY[3.HEADER]"),
        ):
            self.assertEqual(items(text), (BodySection(section, sets_seen=True, name=name),))

    def test_header_fields_by_atom_string_and_literal(self) -> None:
        (item,) = items(b'BODY.PEEK[HEADER.FIELDS (From "To" ', b"Cc", b")]")
        self.assertEqual(
            item,
            BodySection(
                Section((), Kind.HEADER_FIELDS, (b"From", b"To", b"Cc")),
                sets_seen=False,
                name=b"BODY[HEADER.FIELDS (From To Cc)]",
            ),
        )
        (item,) = items(b"BODY[2.HEADER.FIELDS.NOT (X-A)]")
        assert isinstance(item, BodySection)
        self.assertEqual(item.section, Section((2,), Kind.HEADER_FIELDS_NOT, (b"X-A",)))

    def test_partials_answer_their_origin(self) -> None:
        (item,) = items(b"BODY.PEEK[1]<100.2000>")
        self.assertEqual(
            item,
            BodySection(Section((1,), Kind.ALL, ()), partial=Partial(100, 2000), sets_seen=False, name=b"BODY[1]<100>"),
        )

    def test_binary(self) -> None:
        self.assertEqual(
            items(b"(BINARY[1] BINARY.PEEK[]<0.5> BINARY.SIZE[1.2])"),
            (
                Binary((1,), sets_seen=True, name=b"BINARY[1]"),
                Binary((), partial=Partial(0, 5), sets_seen=False, name=b"BINARY[]<0>"),
                BinarySize((1, 2), name=b"BINARY.SIZE[1.2]"),
            ),
        )

    def test_c15_changed_since_implies_modseq(self) -> None:
        command = fetch(b"(FLAGS) (CHANGEDSINCE 12)")
        self.assertEqual((command.items, command.modifiers.changed_since), ((Attribute.FLAGS, Attribute.MODSEQ), 12))
        self.assertIsNone(fetch(b"FLAGS").modifiers.changed_since)

    def test_what_is_malformed_is_refused(self) -> None:
        for text in (
            b"",
            b"()",
            b"(FLAGS",
            b"FLAGS UID",
            b"(ALL)",
            b"FOO",
            b"BODY[",
            b"BODY[0]",
            b"BODY[1.]",
            b"BODY[MIME]",
            b"BODY[FOO]",
            b"BODY[HEADER.FIELDS]",
            b"BODY[HEADER.FIELDS ()]",
            b'BODY[HEADER.FIELDS ("a b")]',
            b'BODY[HEADER.FIELDS ("a:")]',
            b"BODY[]<1>",
            b"BODY[]<1.0>",
            b"BODY[]<-1.1>",
            b"BINARY",
            b"BINARY[TEXT]",
            b"BINARY.SIZE[1]<0.1>",
            b"FLAGS[]",
            b"FLAGS (FOO 1)",
            b"FLAGS (CHANGEDSINCE)",
            b"FLAGS (CHANGEDSINCE 1 CHANGEDSINCE 2)",
        ):
            with self.assertRaises(BadSyntax, msg=text):
                fetch(text)

    def test_l4_items_names_and_levels_are_bounded(self) -> None:
        many = limits.IMAP_LIST_ITEMS_MAX + 1
        for text in (
            b"(" + b" ".join([b"FLAGS"] * many) + b")",
            b"BODY[HEADER.FIELDS (" + b" ".join([b"To"] * many) + b")]",
            b"BODY[" + b".".join([b"1"] * 200) + b"]",
        ):
            with self.assertRaises(LimitReached):
                fetch(text)
