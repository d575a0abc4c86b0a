"""Errors and states have their answers."""

from twisted.trial import unittest

from sora.core import errors
from sora.imap import codes, states
from sora.imap import commands as c
from sora.imap.states import State
from sora.imap.tokens import BadSyntax


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
