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
# What names a mailbox in which one has no right has to answer as if it did not exist, to the letter.
BLIND = (
    *NAMING,
    "MYRIGHTS {box}",
    'RENAME {box} "Other Users/demo/Elsewhere"',
    "RENAME INBOX {box}",
    "CREATE {box}",
    "CREATE {below}",
    'LIST "" {box} RETURN (STATUS (MESSAGES) MYRIGHTS)',
    "SUBSCRIBE {box}",
    'LSUB "" {box}',
    'LIST (SUBSCRIBED) "" *',
    "UNSUBSCRIBE {box}",
    "GETMETADATA {box} /shared/comment",
    'SETMETADATA {box} (/private/comment "x")',
    "ESEARCH IN (mailboxes {box}) ALL",
    "NOTIFY SET STATUS (mailboxes {box} (MessageNew MessageExpunge))",
    "NOTIFY NONE",
    "SELECT INBOX",
    "COPY 1 {box}",
    "MOVE 1 {box}",
    "REPLACE 1 {box} {{4+}}\r\na: b",
)
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

    async def world(self, rights: frozenset[str], *, own_seen: bool = False) -> tuple[MemoryWorld, Any]:
        """Return a server where the reader has rights in Work, and perhaps his own \\Seen, and his connection."""
        owner = Account(OWNER, "secret", [], mailboxes=[("Work", None, False)])
        mail = b"Subject: one\r\n\r\ntext\r\n"
        owner.messages = [("Work", [], b"", mail)]
        reader = Account(READER, "secret", [], messages=[("INBOX", [], b"", mail)])
        settings = {"sharing": "yes", "seen_per_user": "yes" if own_seen else "no"}
        dialog = Dialog("rights", [owner, reader], settings, (), [])
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

    async def test_p7_a_mailbox_without_rights_is_answered_to_the_letter_as_one_that_is_not_there(self) -> None:
        answers = []
        for name in (BOX, NONE):
            _, client = await self.world(frozenset())
            said = []
            for template in BLIND:
                command = template.format(box=name, below=name[:-1] + '/new"')
                said += [line.replace(name.strip('"'), "*") for line in await self.said(client, command)]
            answers.append(said)
        self.assertEqual(*answers)

    async def test_z1_every_command_in_a_mailbox_under_every_right(self) -> None:
        await self.work_under_every_right(own_seen=False)

    async def test_z1_the_same_where_everyone_has_a_seen_of_his_own(self) -> None:
        await self.work_under_every_right(own_seen=True)

    async def work_under_every_right(self, *, own_seen: bool) -> None:
        """Try each command of `WORKING` in the mailbox."""
        for command, needed in WORKING.items():
            for rights in self.sets:
                if "r" not in rights:
                    continue
                _, client = await self.world(rights, own_seen=own_seen)
                opened = (await self.said(client, f"SELECT {BOX}"))[-1]
                self.assertTrue(opened.startswith("t OK"), opened)
                # RFC 4314 5.2: what only oneself sees does not count.
                self.assertEqual("[READ-WRITE]" in opened, bool(rights & set("iewt" if own_seen else "ieswt")), opened)
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
