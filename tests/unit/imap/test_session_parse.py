"""imap/session_parse: what NOTIFY, COMPRESS and LANGUAGE say, and any words at all."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial import unittest

from sora.core.errors import SoraError
from sora.imap.fetch_items import Attribute
from sora.imap.framer import Command
from sora.imap.parse import parse
from sora.imap.session_commands import Compress, Event, EventGroup, Language, Notify, Watched
from sora.imap.tokens import BadSyntax

MESSAGES = frozenset((Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE))
WORDS = (
    *("(", ")", "((", "))", " ", "SET", "NONE", "STATUS", "selected", "selected-delayed", "personal", "inboxes"),
    *("subscribed", "subtree", "mailboxes", "INBOX", '"a b"', "MessageNew", "MessageExpunge", "FlagChange", "uid"),
    *("AnnotationChange", "MailboxName", "body.peek[]", "body[header.fields (subject)]", "flags", "*", '"', "~"),
)


def read(name: str, text: str = "") -> object:
    """Read a command of one line."""
    return parse(Command(b"a", name.encode(), (text.encode(),)))


class SessionParseTests(unittest.SynchronousTestCase):
    def test_groups_of_events(self) -> None:
        text = (
            "set status (selected (MessageNew (uid flags) messageexpunge)) (SUBTREE (Lists inbox) "
            '(MessageNew MessageExpunge FlagChange MailboxName)) (mailboxes "a b" NONE) (personal (SubscriptionChange))'
        )
        self.assertEqual(
            read("NOTIFY", text),
            Notify(
                (
                    EventGroup(Watched.SELECTED, MESSAGES, (), (Attribute.UID, Attribute.FLAGS)),
                    EventGroup(Watched.SUBTREE, MESSAGES | {Event.FLAG_CHANGE, Event.MAILBOX_NAME}, ("Lists", "INBOX")),
                    EventGroup(Watched.MAILBOXES, frozenset(), ("a b",)),
                    EventGroup(Watched.PERSONAL, frozenset((Event.SUBSCRIPTION_CHANGE,))),
                ),
                status=True,
            ),
        )

    def test_none_and_what_is_not_known(self) -> None:
        self.assertEqual(read("NOTIFY", "none"), Notify(()))
        command = read("NOTIFY", "SET (personal (MailboxName Moonrise))")
        assert isinstance(command, Notify)
        self.assertTrue(command.unknown)

    def test_languages_and_mechanisms(self) -> None:
        self.assertEqual(read("LANGUAGE"), Language(()))
        self.assertEqual(read("LANGUAGE", 'DE "en-GB"'), Language(("de", "en-gb")))
        self.assertEqual(read("COMPRESS", "deflate"), Compress("DEFLATE"))
        for name in ("COMPRESS", "NOTIFY"):
            self.assertRaises(BadSyntax, read, name)

    @given(st.lists(st.sampled_from(WORDS), max_size=30))
    def test_any_words_are_read_or_refused(self, words: list[str]) -> None:
        for text in (" ".join(words), "".join(words), "SET (" + " ".join(words)):
            for name in ("NOTIFY", "LANGUAGE", "COMPRESS"):
                try:
                    read(name, text)
                except SoraError:
                    continue
