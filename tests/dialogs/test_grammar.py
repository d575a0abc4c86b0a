"""The formal syntax that dialogs hold the server to (`tests/dialogs/grammar.py`): what fits it, and what does not."""

from twisted.trial import unittest

from tests.dialogs import grammar

GOOD = (
    b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready",
    b"+ ",
    b"+ idling",
    b"a1 OK done",
    b"* 3 EXISTS",
    b"* OK [PERMANENTFLAGS (\\Seen $x \\*)] ok",
    b"* OK [PERMANENTFLAGS ()] ok",
    b"* FLAGS (\\Seen)",
    b'* LIST (\\HasNoChildren) "/" "a\\"b" ("OLDNAME" ("c"))',
    b'* LIST () "/" {3}\r\na\r\n ("CHILDINFO" ("SUBSCRIBED"))',
    b'* STATUS "x" (MESSAGES 3 APPENDLIMIT NIL MAILBOXID (F1))',
    b'* NAMESPACE (("" "/")) NIL NIL',
    b"* 1 FETCH (UID 1 FLAGS (\\Seen x) BODY[HEADER.FIELDS (To)]<0> {2}\r\n)()",
    b'* 1 FETCH (BODY ("TEXT" "PLAIN" NIL NIL NIL "7BIT" 1 1))',
    b'* 1 FETCH (ENVELOPE (NIL NIL ((NIL NIL "a" "b")) NIL NIL NIL NIL NIL NIL NIL) BINARY[1] ~{1}\r\n\0)',
    b'* ESEARCH (TAG "a") UID MIN 1 ALL 1:3,5',
    b"* SEARCH",
    b"* SEARCH 1 2 (MODSEQ 5)",
    b"* VANISHED (EARLIER) 1:2",
    b"* THREAD (1)(2 3 (4)(5 6))((7)(8))",
    b"* THREAD",
    b"* ENABLED",
    b"* ID NIL",
    b'* METADATA "" ("/shared/x y" NIL)',
    b"* METADATA INBOX /a /b",
    b"* ACL x ann lr",
    b'* QUOTA "" ()',
    b'* QUOTAROOT x "r"',
)
BAD = (
    b"* OK\r\n",
    b"* OK [NOSUCH x] ok\r\n",
    b"* OK [UIDNEXT 0] ok\r\n",
    b"* OK [PERMANENTFLAGS (\\Seen  x)] ok\r\n",
    b"* OK [CLOSED]\r\n",
    b"a OK d\xc3\xb6ne\r\n",
    b"* 3 EXISTS \r\n",
    b"* 3 exists\r\n",
    b"* NOSUCH\r\n",
    b"* 0 FETCH (UID 1)\r\n",
    b"* 1 FETCH ()\r\n",
    b"* 1 FETCH (UID 1 )\r\n",
    b"* 1 FETCH (FLAGS \\Seen)\r\n",
    b"* 1 FETCH (BODY[] {3}\r\nab)\r\n",
    b"* 1 FETCH (BODY[] {1}\r\n\0)\r\n",
    b'* 1 FETCH (BODY ("TEXT" "PLAIN" () NIL NIL "7BIT" 1 1))\r\n',
    b'* 1 FETCH (BODY ("TEXT" "PLAIN" NIL NIL NIL "7BIT" 1))\r\n',
    b"* 1 FETCH (ENVELOPE (NIL NIL () NIL NIL NIL NIL NIL NIL NIL))\r\n",
    b'* LIST (\\HasNoChildren) "/" "a"b"\r\n',
    b'* LIST (\\HasNoChildren) "/" "a\r\nb"\r\n',
    b'* LIST () "/" x ()\r\n',
    b'* STATUS "x" (MESSAGES)\r\n',
    b"* SEARCH 1,2\r\n",
    b"* VANISHED\r\n",
    b"* ESEARCH NOSUCH 1\r\n",
    b"* THREAD (1\r\n",
    b"* 3 EXISTS\n",
    b"* ACL x ann\r\n",
)


class GrammarTests(unittest.TestCase):
    def test_what_the_rfcs_show_is_read(self) -> None:
        self.assertEqual(grammar.check(b"".join(line + b"\r\n" for line in GOOD)), len(GOOD))

    def test_what_is_not_in_the_formal_syntax_is_refused(self) -> None:
        for said in BAD:
            try:
                grammar.check(said)
            except grammar.Malformed:
                continue
            self.fail(f"{said!r} was read")
