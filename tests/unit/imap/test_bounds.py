"""Case L4, place by place: what a client lists, nests or writes long is taken up to its bound and refused beyond it."""

from collections.abc import Callable
from typing import Any

import attrs
from twisted.trial import unittest

from sora.core import limits
from sora.core.address import ADDRESS_MAX
from sora.core.errors import LimitReached
from sora.front.imap import factory
from sora.imap import acl_parse, metadata_parse
from sora.imap.framer import TAG_MAX, Command, Framer, LiteralOffered, Malformed, Refused
from sora.imap.parse import parse
from sora.imap.tokens import BadSyntax
from sora.sasl.exchange import LINE_MAX, SaslError, decode, plain

Parts = bytes | tuple[bytes, ...]
FAMILIES = factory.FAMILIES
"""They say how the arguments of LIST's return options are read."""
ITEMS = limits.IMAP_LIST_ITEMS_MAX
RANGES = limits.IMAP_SET_RANGES_MAX
NESTING = limits.IMAP_NESTING_MAX
TOGETHER = b" ".join
FEW, SOME, MODIFIERS = 16, 32, 8
"""What lists of options, of patterns and of modifiers may have."""


@attrs.frozen
class Place:
    """A command with so many members of something; refused with an error of its own beyond `most`."""

    command: bytes
    write: Callable[[int], Parts]
    most: int
    refused: type[Exception] = LimitReached


def words(before: bytes, word: bytes, after: bytes = b")") -> Callable[[int], bytes]:
    """Return a writer of so many equal words."""
    return lambda count: before + TOGETHER([word] * count) + after


def numbered(before: bytes, word: bytes, after: bytes = b")") -> Callable[[int], bytes]:
    """Return a writer of so many different words."""
    return lambda count: before + TOGETHER([word % number for number in range(count)]) + after


def ranges(before: bytes, after: bytes = b"") -> Callable[[int], bytes]:
    """Return a writer of a set of so many ranges that cannot be joined."""
    return lambda count: before + b",".join(b"%d" % (2 * number + 1) for number in range(count)) + after


def nested(before: bytes, opening: bytes, middle: bytes, closing: bytes = b"") -> Callable[[int], bytes]:
    """Return a writer of something so deep."""
    return lambda count: before + opening * count + middle + closing * count


def long(before: bytes, after: bytes = b"", octet: bytes = b"x") -> Callable[[int], bytes]:
    """Return a writer of something so long."""
    return lambda count: before + octet * count + after


def literals(before: bytes, after: bytes) -> Callable[[int], tuple[bytes, ...]]:
    """Return a writer of so many literals with text between them."""
    return lambda count: (before, *[b"x", after] * (count - 1), b"x", b"" if after == b" " else b")")


PLACES = {
    "search_parentheses": Place(b"SEARCH", nested(b"", b"(", b"ALL", b")"), NESTING),
    "search_not": Place(b"SEARCH", nested(b"", b"NOT ", b"ALL"), NESTING),
    "search_fuzzy": Place(b"SEARCH", nested(b"", b"FUZZY ", b"SUBJECT x"), NESTING),
    "search_or_of_not": Place(b"SEARCH", nested(b"", b"OR NOT ", b"ALL", b" ALL"), NESTING // 2),
    "search_keys": Place(b"SEARCH", words(b"", b"ALL", b""), limits.IMAP_SEARCH_KEYS_MAX),
    "search_keys_in_parentheses": Place(b"UID SEARCH", words(b"(", b"ALL"), limits.IMAP_SEARCH_KEYS_MAX),
    "search_or_chain": Place(b"SEARCH", nested(b"", b"OR ALL ", b"ALL"), (limits.IMAP_SEARCH_KEYS_MAX - 1) // 2),
    "search_text": Place(b"SEARCH", long(b"TEXT "), limits.IMAP_SEARCH_TEXT_MAX),
    "search_text_of_a_header": Place(b"SEARCH", long(b"HEADER Subject "), limits.IMAP_SEARCH_TEXT_MAX),
    "search_set": Place(b"SEARCH", ranges(b""), RANGES),
    "search_uid_set": Place(b"SEARCH", ranges(b"UID "), RANGES),
    "search_return_options": Place(b"SEARCH", words(b"RETURN (", b"MIN", b") ALL"), FEW),
    "search_update_items": Place(b"SEARCH", words(b"RETURN (UPDATE (", b"UID", b")) ALL"), ITEMS),
    "sort_keys": Place(b"SORT", words(b"(", b"DATE", b") UTF-8 ALL"), limits.IMAP_SORT_KEYS_MAX),
    "sort_return_options": Place(b"UID SORT", words(b"RETURN (", b"MIN", b") (DATE) UTF-8 ALL"), FEW),
    "thread_search_keys": Place(b"THREAD", words(b"REFS UTF-8 ", b"ALL", b""), limits.IMAP_SEARCH_KEYS_MAX),
    "esearch_sources": Place(b"ESEARCH", words(b"IN (", b"inboxes", b") ALL"), FEW),
    "esearch_mailboxes": Place(b"ESEARCH", numbered(b"IN (mailboxes (", b"m%d", b")) ALL"), ITEMS),
    "esearch_subtrees": Place(b"ESEARCH", numbered(b"IN (subtree (", b"m%d", b")) ALL"), ITEMS),
    "cancelled_updates": Place(b"CANCELUPDATE", words(b"", b'"a"', b""), ITEMS),
    "fetch_set": Place(b"FETCH", ranges(b"", b" UID"), RANGES),
    "fetch_items": Place(b"FETCH", words(b"1 (", b"UID"), ITEMS),
    "fetch_items_too_long_to_remember": Place(b"UID FETCH", numbered(b"1 (", b"BODY.PEEK[]<%d.1>"), ITEMS),
    "fetch_header_fields": Place(b"FETCH", words(b"1 BODY.PEEK[HEADER.FIELDS (", b"To", b")]"), ITEMS),
    "fetch_header_fields_not": Place(b"FETCH", words(b"1 BODY[HEADER.FIELDS.NOT (", b"To", b")]"), ITEMS),
    "fetch_part_levels": Place(b"FETCH", lambda n: b"1 BODY[%b]" % b".".join([b"1"] * n), limits.MIME_DEPTH_MAX),
    "fetch_binary_levels": Place(b"FETCH", lambda n: b"1 BINARY[%b]" % b".".join([b"1"] * n), limits.MIME_DEPTH_MAX),
    "store_set": Place(b"STORE", ranges(b"", b" FLAGS (x)"), RANGES),
    "store_flags": Place(b"STORE", words(b"1 FLAGS (", b"\\Seen"), ITEMS),
    "store_flags_without_parentheses": Place(b"STORE", words(b"1 +FLAGS ", b"\\Seen", b""), ITEMS),
    "store_keywords": Place(b"STORE", numbered(b"1 +FLAGS (", b"k%d"), limits.KEYWORDS_PER_MESSAGE_MAX),
    "copy_set": Place(b"COPY", ranges(b"", b" x"), RANGES),
    "move_set": Place(b"UID MOVE", ranges(b"", b" x"), RANGES),
    "expunge_set": Place(b"UID EXPUNGE", ranges(b""), RANGES),
    "append_flags": Place(b"APPEND", lambda n: (words(b"x (", b"\\Seen", b") ")(n), b"m", b""), ITEMS),
    "append_keywords": Place(
        b"APPEND", lambda n: (numbered(b"x (", b"k%d", b") ")(n), b"m", b""), limits.KEYWORDS_PER_MESSAGE_MAX
    ),
    "append_messages": Place(b"APPEND", literals(b"x ", b" "), limits.IMAP_LITERAL_COUNT_MAX),
    "catenate_texts": Place(b"APPEND", literals(b"x CATENATE (TEXT ", b" TEXT "), ITEMS),
    "catenate_urls": Place(b"APPEND", words(b"x CATENATE (", b"URL /x/;UID=1"), ITEMS),
    "replace_urls": Place(b"REPLACE", words(b"1 x CATENATE (", b"URL /x/;UID=1"), ITEMS),
    "list_patterns": Place(b"LIST", words(b'"" (', b"x"), SOME),
    "list_patterns_together": Place(
        b"LIST", lambda n: b'"" (%b %b)' % (b"%" * (n // 2), b"*" * (n - n // 2)), limits.IMAP_PATTERN_MAX
    ),
    "list_pattern": Place(b"LIST", long(b'"" ', octet=b"*"), limits.IMAP_PATTERN_MAX),
    "list_reference": Place(b"LIST", long(b"", b" *"), limits.IMAP_PATTERN_MAX),
    "lsub_pattern": Place(b"LSUB", long(b'"" ', octet=b"%"), limits.IMAP_PATTERN_MAX),
    "lsub_reference": Place(b"LSUB", long(b"", b" *"), limits.IMAP_PATTERN_MAX),
    "xlist_pattern": Place(b"XLIST", long(b'"" ', octet=b"%"), limits.IMAP_PATTERN_MAX),
    "list_selection_options": Place(b"LIST", words(b"(", b"REMOTE", b') "" *'), FEW),
    "list_return_options": Place(b"LIST", words(b'"" * RETURN (', b"CHILDREN"), FEW),
    "list_status_items": Place(b"LIST", words(b'"" * RETURN (STATUS (', b"SIZE", b"))"), ITEMS),
    "list_annotations": Place(
        b"LIST", words(b'"" * RETURN (METADATA (', b"/private/a", b"))"), metadata_parse.ENTRIES_MAX
    ),
    "status_items": Place(b"STATUS", words(b"x (", b"SIZE"), ITEMS),
    "create_uses": Place(b"CREATE", words(b"x (USE (", b"\\Sent", b"))"), FEW),
    "select_parameters": Place(b"SELECT", words(b"x (", b"CONDSTORE"), MODIFIERS),
    "select_known_uids": Place(b"SELECT", ranges(b"x (QRESYNC (1 2 ", b"))"), RANGES),
    "select_match_data": Place(
        b"EXAMINE", lambda n: ranges(b"x (QRESYNC (1 2 1:9 (", b" ")(n) + ranges(b"", b")))")(n), RANGES
    ),
    "enabled": Place(b"ENABLE", words(b"", b"x", b""), ITEMS),
    "id_fields": Place(b"ID", words(b"(", b'"a" NIL'), 30),
    "languages": Place(b"LANGUAGE", words(b"", b"en", b""), limits.IMAP_LANGUAGES_MAX),
    "notify_groups": Place(b"NOTIFY", words(b"SET ", b"(personal (MailboxName))", b""), limits.IMAP_NOTIFY_GROUPS_MAX),
    "notify_events": Place(b"NOTIFY", words(b"SET (personal (", b"MailboxName", b"))"), limits.IMAP_NOTIFY_EVENTS_MAX),
    "notify_items": Place(
        b"NOTIFY", words(b"SET (selected (MessageNew (", b"UID", b") MessageExpunge))"), limits.IMAP_LIST_ITEMS_MAX
    ),
    "notify_mailboxes": Place(b"NOTIFY", numbered(b"SET (mailboxes (", b"m%d", b") NONE)"), ITEMS),
    "notify_mailboxes_of_all_groups": Place(
        b"NOTIFY",
        lambda n: numbered(b"SET (mailboxes (", b"m%d", b") NONE) (subtree (a b) NONE)")(n - 2),
        ITEMS,
    ),
    "annotations_asked": Place(b"GETMETADATA", words(b"x (", b"/private/a"), metadata_parse.ENTRIES_MAX),
    "annotations_asked_with_options": Place(
        b"GETMETADATA", words(b"(DEPTH 1) x (", b"/private/a"), metadata_parse.ENTRIES_MAX
    ),
    "annotations_set": Place(b"SETMETADATA", words(b"x (", b"/private/a NIL"), metadata_parse.ENTRIES_MAX),
    "acl_identifier": Place(b"SETACL", long(b"x ", b" lr"), acl_parse.IDENTIFIER_MAX, BadSyntax),
    "acl_identifier_removed": Place(b"DELETEACL", long(b"x "), acl_parse.IDENTIFIER_MAX, BadSyntax),
    "acl_identifier_asked": Place(b"LISTRIGHTS", long(b"x "), acl_parse.IDENTIFIER_MAX, BadSyntax),
    "acl_rights": Place(b"SETACL", long(b"x bob ", octet=b"r"), 64, BadSyntax),
    "quota_resources": Place(b"SETQUOTA", numbered(b"x (", b"R%d 1"), FEW),
}


class PlaceTests(unittest.SynchronousTestCase):
    """One test for each place; see `PLACES`."""

    def hold(self, place: Place) -> None:
        """Take as much as is allowed, and refuse one more."""
        read(place, place.most)
        with self.assertRaises(place.refused):
            read(place, place.most + 1)


def read(place: Place, count: int) -> object:
    """Read the command as the framer hands it over."""
    written = place.write(count)
    return parse(Command(b"a", place.command, (written,) if isinstance(written, bytes) else written))


def _test(place: Place) -> Callable[[Any], None]:
    return lambda self: self.hold(place)


for _name, _place in PLACES.items():
    setattr(PlaceTests, f"test_l4_{_name}", _test(_place))


class FramerTests(unittest.SynchronousTestCase):
    """What is bounded before arguments are read."""

    def framer(self) -> Framer:
        """Return a framer after login."""
        made = Framer()
        made.authenticated = True
        return made

    def test_l4_a_tag(self) -> None:
        (event,) = self.framer().feed(b"a" * TAG_MAX + b" NOOP\r\n")
        self.assertIsInstance(event, Command)
        (event,) = self.framer().feed(b"a" * (TAG_MAX + 1) + b" NOOP\r\n")
        self.assertIsInstance(event, Malformed)

    def test_l4_a_line(self) -> None:
        for more, kind in ((0, Command), (1, Refused)):
            rest = b"x" * (limits.IMAP_LINE_MAX - len(b"a SELECT \r\n") + more + 1)
            (event,) = self.framer().feed(b"a SELECT " + rest + b"\r\n")
            self.assertIsInstance(event, kind, more)

    def test_l4_a_literal_of_each_command_that_is_no_message(self) -> None:
        for command in (b"SELECT", b"SEARCH TEXT", b"STATUS", b"SETMETADATA x (/private/a", b"SETACL x", b"ID ("):
            for size, kind in ((limits.IMAP_LITERAL_MAX, LiteralOffered), (limits.IMAP_LITERAL_MAX + 1, Refused)):
                (event,) = self.framer().feed(b"a %b {%d}\r\n" % (command, size))
                self.assertIsInstance(event, kind, command)

    def test_l4_the_mailbox_of_a_message_is_no_message(self) -> None:
        for command in (b"APPEND", b"REPLACE 1", b"UID REPLACE 1"):
            (event,) = self.framer().feed(b"a %b {%d}\r\n" % (command, limits.IMAP_LITERAL_MAX + 1))
            self.assertIsInstance(event, Refused, command)


class SaslTests(unittest.SynchronousTestCase):
    """Case A7: what is bounded of a SASL response."""

    def test_l4_a_line_of_base64(self) -> None:
        decode(b"A" * LINE_MAX)
        self.assertRaises(SaslError, decode, b"A" * (LINE_MAX + 4))

    def test_l4_each_part_of_a_plain_message(self) -> None:
        name, password = b"n" * ADDRESS_MAX, b"p" * limits.PASSWORD_MAX
        plain(b"\0".join((name, name, password)))
        for parts in ((name + b"n", name, password), (name, name + b"n", password), (name, name, password + b"p")):
            self.assertRaises(SaslError, plain, b"\0".join(parts))
