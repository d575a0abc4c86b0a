"""What clients say in the dialogs, with words left out, doubled, swapped and replaced: answered all the same.

No answer is [SERVERBUG], each fits the formal syntax (`tests/dialogs/grammar.py`), and every session can go on.
"""

import random
import re
from pathlib import Path

from twisted.trial import unittest

from tests.dialogs import grammar, script
from tests.dialogs.connections import MemoryClient
from tests.dialogs.world import MemoryWorld

SEEDS = range(6)
COMMANDS = 250
EXTENSIONS = (b"IMAP4rev2", b"QRESYNC", b"UTF8=ACCEPT", b"UIDONLY", b"CONDSTORE")
ODD = ("NIL", '""', "0", "4294967296", "1:*", "*", "$", "\\Seen", "()", "INBOX", '"a b"', "&", "%", "/private/a", "-1")
_SAID = [
    step.text
    for path in sorted((Path(__file__).parent / "imap").glob("*.txt"))
    for step in script.read(path).steps
    if step.who == "C" and step.how == ":" and len(step.text) < 400 and "{" not in step.text
]
_WORDS = sorted({word for text in _SAID for word in re.findall(r"[^ ()]+", text)})
_NOT_HERE = ("COMPRESS", "LOGOUT", "UNAUTHENTICATE")
"""Commands after which octets mean something else, or nothing."""


def mutated(chance: random.Random) -> bytes:
    """Return a command of some dialog with up to three words changed, under a tag of its own."""
    text = chance.choice(_SAID)
    while len(text.split(" ")) < 2 or any(word in text.upper() for word in _NOT_HERE):
        text = chance.choice(_SAID)
    name, _, arguments = text.partition(" ")[2].partition(" ")
    pieces = re.findall(r'[()]|"[^"]*"|[^ ()"]+| ', arguments)
    for _ in range(chance.randrange(4)):
        if not pieces:
            break
        at = chance.randrange(len(pieces))
        match chance.randrange(5):
            case 0:
                del pieces[at]
            case 1:
                pieces.insert(at, chance.choice(pieces))
            case 2:
                pieces[at] = chance.choice(_WORDS)
            case 3:
                pieces[at] = chance.choice(ODD)
            case _:
                other = chance.randrange(len(pieces))
                pieces[at], pieces[other] = pieces[other], pieces[at]
    # What looks like a literal would swallow the next command.
    return f"t {name} {''.join(pieces)}".rstrip("}").encode() + b"\r\n"


class MutationTests(unittest.TestCase):
    async def setUp(self) -> None:
        accounts = []
        for name in ("demo", "ann"):
            account = script.Account(f"{name}@example.org", "secret", [])
            account.mailboxes = [("Work", None, True), ("Sent", "\\Sent", False), ("Work/Old", None, False)]
            account.messages = [("INBOX", [], b"", script.simple(number)) for number in range(4)]
            accounts.append(account)
        dialog = script.Dialog("mutations", accounts, {"sharing": "yes"}, (), [], ["demo@example.org"])
        self.world = MemoryWorld(dialog)
        await self.world.set_up()
        self.world.factory = self.world.imap()

    async def _client(self, name: bytes, chance: random.Random) -> MemoryClient:
        client = await self.world.connect()
        await client.send(b"a LOGIN %b@example.org secret\r\n" % name)
        await client.send(b"b ENABLE %b\r\n" % b" ".join(chance.sample(EXTENSIONS, chance.randrange(1, 4))))
        await client.send(b"c SELECT %b\r\n" % chance.choice((b"INBOX", b"INBOX", b"Sent")))
        return client

    async def test_no_command_breaks_anything_whatever_its_arguments(self) -> None:
        for seed in SEEDS:
            chance = random.Random(seed)  # noqa: S311
            names = (b"demo", b"demo", b"ann")
            clients = [await self._client(name, chance) for name in names]
            for _ in range(COMMANDS):
                at = chance.randrange(len(clients))
                if await clients[at].closed():
                    clients[at] = await self._client(names[at], chance)
                command, before = mutated(chance), len(clients[at].heard)
                await clients[at].send(command)
                if b"IDLE" in command.upper():
                    await clients[at].send(b"DONE\r\n")
                said = bytes(clients[at].heard[before:])
                self.assertNotIn(b"SERVERBUG", said, (seed, command))
                self.assertTrue(re.search(rb"(?:\A|\r\n)t (?:OK|NO|BAD) ", said), (seed, command, said))
            for client in self.world.clients:
                grammar.check(bytes(client.heard))
                await client.hang_up()
            self.world.clients.clear()
