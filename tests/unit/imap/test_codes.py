"""Errors and states have their answers."""

from pathlib import Path

from twisted.trial import unittest

from sora.core import errors
from sora.imap import codes, states
from sora.imap import commands as c
from sora.imap.states import State
from sora.imap.tokens import BadSyntax

ROOT = Path(__file__).parents[3]


def every(root: type[errors.SoraError]) -> list[type[errors.SoraError]]:
    found = [root]
    for error in found:
        found.extend(error.__subclasses__())
    return [error for error in found if error.__module__ == errors.__name__]


class Codes(unittest.SynchronousTestCase):
    def test_every_error_has_its_own_row(self) -> None:
        for error in every(errors.SoraError):
            self.assertIn(error, codes._TABLE)

    def test_temporary_errors_never_sound_permanent(self) -> None:
        for error in every(errors.Temporary):
            self.assertIn(codes.condition_and_code(error("x")), [(b"NO", b"UNAVAILABLE"), (b"NO", b"INUSE")])

    def test_answers(self) -> None:
        self.assertEqual(codes.answer(b"a", BadSyntax("what")), b"a BAD what\r\n")
        self.assertEqual(codes.answer(b"a", errors.NoSuchMailbox("no x")), b"a NO [NONEXISTENT] no x\r\n")
        self.assertEqual(codes.answer(b"a", errors.NoSuchMailbox("no x"), creatable=True), b"a NO [TRYCREATE] no x\r\n")
        self.assertEqual(codes.answer(b"a", errors.OverQuota()), b"a NO [OVERQUOTA] failed\r\n")

    def test_a_bug_shows_nothing_of_itself(self) -> None:
        self.assertEqual(codes.answer(b"a", KeyError("secret")), b"a NO [SERVERBUG] internal error\r\n")


class States(unittest.SynchronousTestCase):
    def test_every_command_has_its_states(self) -> None:
        for command in c.Command.__args__:
            self.assertTrue(states.ALLOWED[command], command)

    def test_commands_are_allowed_where_the_rfc_says(self) -> None:
        login = c.Login("a", "b")
        self.assertTrue(states.allowed(login, State.NOT_AUTHENTICATED))
        self.assertFalse(states.allowed(login, State.AUTHENTICATED))
        self.assertTrue(states.allowed(c.Noop(), State.NOT_AUTHENTICATED))
        self.assertFalse(states.allowed(c.Close(), State.AUTHENTICATED))
        self.assertTrue(states.allowed(c.Close(), State.SELECTED))
        self.assertFalse(states.allowed(c.Noop(), State.LOGOUT))

    def test_c3_passwords_are_advertised_only_where_they_are_permitted(self) -> None:
        permitted = states.capabilities(State.NOT_AUTHENTICATED, plaintext_permitted=True).split()
        self.assertIn(b"AUTH=PLAIN", permitted)
        self.assertNotIn(b"LOGINDISABLED", permitted)
        for starttls in (True, False):
            refused = states.capabilities(State.NOT_AUTHENTICATED, plaintext_permitted=False, starttls=starttls).split()
            self.assertIn(b"LOGINDISABLED", refused)
            self.assertNotIn(b"AUTH=PLAIN", refused)
            self.assertEqual(b"STARTTLS" in refused, starttls)
        inside = states.capabilities(State.SELECTED, plaintext_permitted=True).split()
        self.assertNotIn(b"AUTH=PLAIN", inside)
        self.assertIn(b"MOVE", inside)

    def test_the_page_of_the_protocol_shows_the_lists(self) -> None:
        text = (ROOT / "docs" / "protocols" / "imap.md").read_text()
        section = text[text.index("\n## Capabilities\n") : text.index("\n## Limits\n")]
        rows = [row.split("|")[2].split() for row in section.splitlines() if row.startswith(("| before", "| after"))]
        lists = (states.PERMITTED, states.REFUSED, states.AUTHENTICATED)
        shown = [sorted(row) for row in rows if "IMAP4rev1" in row]
        self.assertEqual(shown, [sorted(name.decode() for name in names) for names in lists])

    def test_nothing_is_advertised_twice_and_what_is_hidden_is_not_shown(self) -> None:
        for names in (states.PERMITTED, states.REFUSED, states.PERMITTED_STARTTLS, states.AUTHENTICATED):
            self.assertEqual(len(set(names)), len(names))
        hidden = frozenset((b"LITERAL+", b"IDLE"))
        shown = states.capabilities(State.AUTHENTICATED, plaintext_permitted=True, hidden=hidden).split()
        self.assertIn(b"LITERAL-", shown)
        self.assertFalse({b"LITERAL+", b"IDLE"} & set(shown))

    def test_what_commands_need_is_advertised_somewhere(self) -> None:
        known = {name.upper() for name in (*states.PERMITTED_STARTTLS, *states.AUTHENTICATED)}
        self.assertEqual(set(states.NEEDED.values()) - known, set())
