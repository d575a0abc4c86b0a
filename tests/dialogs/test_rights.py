"""Every command that names another's mailbox, and every one that works in it, under every right (RFC 4314 4, case Z1).

The table says which rights a command needs; the matrix is each command under all rights, under each single one missing,
under each right alone, and under none, where everything has to look as if the mailbox did not exist.
"""

from typing import Any, ClassVar

from twisted.trial import unittest

from sora.core.rights import ALL, LETTERS, Edit
from tests.dialogs.script import Account, Dialog
from tests.dialogs.world import MemoryWorld

OWNER, READER = "demo@example.org", "ann@example.org"
BOX = '"Other Users/demo/Work"'
NONE = '"Other Users/demo/None"'

# command -> the rights without any of which it is refused; it goes on `{box}`.
NAMING = {
    "SELECT {box}": "r",
    "EXAMINE {box}": "r",
    "STATUS {box} (MESSAGES UNSEEN)": "r",
    "GETQUOTAROOT {box}": "r",
    "APPEND {box} {{4+}}\r\na: b": "i",
    "GETACL {box}": "a",
    'SETACL {box} anyone ""': "a",
    "DELETEACL {box} anyone": "a",
    "LISTRIGHTS {box} ann": "a",
    "DELETE {box}": "x",
}
# commands with the mailbox selected -> the rights without all of which they are refused
WORKING = {
    "STORE 1 +FLAGS (\\Seen)": "s",
    "STORE 1 +FLAGS (\\Deleted)": "t",
    "STORE 1 +FLAGS (\\Flagged)": "w",
    "STORE 1 +FLAGS (word)": "w",
    "STORE 1 FLAGS (\\Seen \\Flagged word)": "stw",
    "EXPUNGE": "e",
    "UID EXPUNGE 1": "e",
    "FETCH 1 (FLAGS UID)": "",
    "SEARCH ALL": "",
    "COPY 1 INBOX": "",
    "NOOP": "",
    "CLOSE": "",
}
_ANY = {"STORE 1 FLAGS (\\Seen \\Flagged word)"}
"""Any of the rights will do."""


class RightsTests(unittest.TestCase):
    """The matrix, over the store in memory."""

    sets: ClassVar[list[frozenset[str]]] = [
        ALL,
        frozenset(),
        *(ALL - {letter} for letter in LETTERS),
        *(frozenset(letter) for letter in LETTERS),
        *(frozenset(letter + "l") for letter in LETTERS),
        *(frozenset(letter + "lr") for letter in LETTERS),
    ]

    async def world(self, rights: frozenset[str]) -> tuple[MemoryWorld, Any]:
        """Return a server where the reader has rights in Work, and the reader's connection."""
        owner = Account(OWNER, "secret", [], mailboxes=[("Work", None, False)])
        mail = b"Subject: one\r\n\r\ntext\r\n"
        owner.messages = [("Work", [], b"", mail)]
        dialog = Dialog("rights", [owner, Account(READER, "secret", [])], {"sharing": "yes"}, (), [])
        world = MemoryWorld(dialog)
        await world.set_up()
        world.factory = world.imap()
        work = (await world.store.mailboxes.find(world.ids[OWNER], "Work")).id
        await world.store.grants.grant(work, READER, Edit.REPLACE, rights, negative=False)
        client = await world.connect()
        await client.line()
        await self.said(client, f"LOGIN {READER} secret")
        return world, client

    async def said(self, client: Any, command: str) -> list[str]:
        """Carry out a command and return what was answered."""
        await client.send(f"t {command}\r\n".encode())
        lines: list[str] = []
        while not lines or not lines[-1].startswith("t "):
            line = await client.line()
            if line is None:
                raise AssertionError(f"{command}: no answer after {lines}")
            lines.append(line.decode())
        return lines

    async def test_z1_every_command_that_names_a_mailbox_under_every_right(self) -> None:
        for rights in self.sets:
            _, client = await self.world(rights)
            for template, needed in NAMING.items():
                answer = (await self.said(client, template.format(box=BOX)))[-1]
                where = f"{template} with {''.join(sorted(rights))!r}: {answer}"
                if needed in rights:
                    self.assertTrue(answer.startswith("t OK"), where)
                elif "l" in rights:
                    self.assertTrue(answer.startswith("t NO [NOPERM]"), where)
                else:
                    missing = (await self.said(client, template.format(box=NONE)))[-1]
                    self.assertEqual(answer, missing, where)
                    self.assertRegex(answer, r"t NO \[(NONEXISTENT|TRYCREATE)\]", where)

    async def test_z1_every_command_in_a_mailbox_under_every_right(self) -> None:
        for command, needed in WORKING.items():
            for rights in self.sets:
                if "r" not in rights:
                    continue
                _, client = await self.world(rights)
                opened = (await self.said(client, f"SELECT {BOX}"))[-1]
                self.assertTrue(opened.startswith("t OK"), opened)
                self.assertEqual("[READ-WRITE]" in opened, bool(rights & set("ieswt")), opened)
                answer = (await self.said(client, command))[-1]
                where = f"{command} with {''.join(sorted(rights))!r}: {answer}"
                enough = any if command in _ANY else all
                admitted = not needed or enough(letter in rights for letter in needed)
                self.assertEqual(answer.startswith("t OK"), admitted, where)

    async def test_z1_lists_show_what_may_be_looked_up_and_myrights_what_there_is(self) -> None:
        for rights in self.sets:
            _, client = await self.world(rights)
            listed = await self.said(client, 'LIST "" "Other Users/*" RETURN (STATUS (MESSAGES))')
            shown = [line for line in listed if line.startswith("* LIST") and "demo/Work" in line]
            counted = [line for line in listed if line.startswith("* STATUS")]
            self.assertEqual((bool(shown), bool(counted)), ("l" in rights, rights >= set("lr")), listed)
            mine = await self.said(client, f"MYRIGHTS {BOX}")
            self.assertEqual(mine[-1].startswith("t OK"), bool(rights & set("lrikxa")), mine)

    async def test_z1_creating_and_renaming_need_k_above_and_x_itself(self) -> None:
        for rights in self.sets:
            _, client = await self.world(rights)
            created = (await self.said(client, 'CREATE "Other Users/demo/Work/new"'))[-1]
            self.assertEqual(created.startswith("t OK"), "k" in rights, created)
            _, client = await self.world(rights)
            renamed = (await self.said(client, f'RENAME {BOX} "Other Users/demo/Elsewhere"'))[-1]
            self.assertTrue(renamed.startswith("t NO"), renamed)

    async def test_flags_that_may_not_be_set_stay(self) -> None:
        world, client = await self.world(frozenset("lrs"))
        await self.said(client, f"SELECT {BOX}")
        await self.said(client, "STORE 1 FLAGS (\\Seen \\Flagged word)")
        row = await world.store.mailboxes.open(world.ids[OWNER], "Work", claim_recent=False)
        self.assertEqual((row.columns.flags[0], row.columns.keywords), (1, {}))

    async def test_fetching_a_body_without_s_sets_nothing(self) -> None:
        world, client = await self.world(frozenset("lrwt"))
        await self.said(client, f"SELECT {BOX}")
        await self.said(client, "FETCH 1 BODY[]")
        row = await world.store.mailboxes.open(world.ids[OWNER], "Work", claim_recent=False)
        self.assertEqual(row.columns.flags[0], 0)

    async def test_closing_without_e_expunges_nothing(self) -> None:
        world, client = await self.world(frozenset("lrt"))
        await self.said(client, f"SELECT {BOX}")
        await self.said(client, "STORE 1 +FLAGS (\\Deleted)")
        await self.said(client, "CLOSE")
        self.assertEqual(await world.count(OWNER, "Work"), 1)
