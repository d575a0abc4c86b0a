"""`sora-admin` as operators call it: a process of its own, beside the server's database and a directory of bodies."""

import json
import os
import sys
import time
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutputAndValue

from sora.auth.build import authenticator
from sora.core.config.access import Auth
from sora.core.errors import AuthenticationFailed
from sora.core.quota import Limits
from sora.disk.bodies import DirectoryObjectStore
from tests.contract.mail import new_message
from tests.integration.database import DatabaseTests

USER = "user@example.com"


class AdminTests(DatabaseTests):
    """The commands against PostgreSQL."""

    timeout = 60

    async def _set_up(self) -> None:
        await super()._set_up()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.objects = self.folder / "objects"
        self.config = self.folder / "config.toml"
        self.config.write_text(
            "[auth]\nbcrypt_cost = 10\n"
            f'[database]\nhosts = ["{self.settings.socket_dir}"]\nport = {self.settings.port}\n'
            f'name = "{self.settings.name}"\nallow_unsafe = true\n'
            '[storage]\nobjects = "objects"\n'
        )

    async def admin(self, *arguments: str, code: int = 0) -> str:
        words = ["-m", "sora.admin.cli", *arguments, "--config", str(self.config)]
        finished: Deferred[tuple[bytes, bytes, int]] = getProcessOutputAndValue(
            sys.executable, words, env={**os.environ, "PYTHONWARNINGS": ""}
        )
        out, err, status = await finished
        self.assertEqual(status, code, err.decode())
        return out.decode()

    async def test_an_account_lives_from_its_creation_to_its_end(self) -> None:
        self.assertEqual(
            await self.admin("accounts", "create", "--email", USER, "--password", "pass"), f"created {USER}\n"
        )
        await self.admin("accounts", "create", "--email", USER, "--password", "pass", code=1)
        signing = authenticator(Auth(bcrypt_cost=10), self.store.accounts, _reactor())
        signing.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(signing.stop()))
        how = {"mechanism": "PLAIN", "protocol": "imap", "peer": ""}
        for _ in range(2):
            self.assertEqual((await signing.sign_in(USER, "pass", **how)).address, USER)
        # A3: what this process remembers of the old password is worth nothing once another one changed it.
        await self.admin("accounts", "update", "--email", USER, "--password", "newpass")
        with self.assertRaises(AuthenticationFailed):
            await signing.sign_in(USER, "pass", **how)
        await signing.sign_in(USER, "newpass", **how)
        row = json.loads(await self.admin("accounts", "list", "--json"))
        self.assertEqual((row["address"], row["status"], row["mailboxes"]), (USER, "active", 6))
        await self.admin("accounts", "delete", "--email", USER, "--yes")
        with self.assertRaises(AuthenticationFailed):
            await signing.sign_in(USER, "newpass", **how)

    async def test_check_finds_what_was_tampered_with(self) -> None:
        await self.admin("accounts", "create", "--email", USER, "--password", "pass")
        self.assertIn("nothing is wrong", await self.admin("check"))
        self.sql("UPDATE mailboxes SET messages = 3 WHERE name = 'INBOX'")
        objects = DirectoryObjectStore(self.objects, reactor=_reactor())
        await objects.put("domain/example.com/orphan", b"nobody's")
        await objects.close()
        long_ago = time.time() - 2 * 86_400
        for file in self.objects.rglob("*orphan*"):
            os.utime(file, (long_ago, long_ago))
        *found, summary = [json.loads(line) for line in (await self.admin("check", "--json", code=1)).splitlines()]
        self.assertEqual(summary["findings"], len(found))
        self.assertIn(("object-orphan", "domain/example.com/orphan"), {(one["kind"], one["where"]) for one in found})
        self.assertTrue(any("mailbox" in one["where"] for one in found), found)

    async def test_d14_a_repair_leaves_nothing_but_what_is_lost(self) -> None:
        await self.admin("accounts", "create", "--email", USER, "--password", "pass")
        (account,) = await self.store.accounts.rows()
        inbox = (await self.store.mailboxes.find(account.id, "INBOX")).id
        await self.store.messages.insert([new_message(inbox) for _ in range(3)])
        objects = DirectoryObjectStore(self.objects, reactor=_reactor())
        uploads = sorted(await self.store.bodies.claim_uploads(3, 60.0), key=lambda upload: upload.ref.id)
        bodies = [upload.ref.id for upload in uploads]
        await objects.put(uploads[0].ref.object_key, uploads[0].data)
        await objects.close()
        # One whose object is there, one that is nowhere, one that is staged and believed to be stored; wrong numbers.
        self.sql("DELETE FROM staged_bodies WHERE body_id <> (SELECT max(body_id) FROM staged_bodies)")
        self.sql("UPDATE bodies SET stored = true WHERE id = (SELECT max(id) FROM bodies)")
        self.sql("UPDATE mailboxes SET messages = 7, uid_next = 1 WHERE name = 'INBOX'")
        await self.admin("check", "--repair", code=1)
        *found, summary = [json.loads(line) for line in (await self.admin("check", "--json", code=1)).splitlines()]
        self.assertEqual([(one["kind"], one["ids"]) for one in found], [("body-without-bytes", [bodies[1]])])
        self.assertEqual(summary["repaired"], 0)
        self.assertEqual(
            self.sql("SELECT id, stored FROM bodies ORDER BY id"), list(zip(bodies, (True, False, False), strict=True))
        )
        self.assertEqual(self.sql("SELECT body_id FROM staged_bodies"), [(bodies[2],)])

    async def test_a_database_that_is_away_is_a_temporary_failure(self) -> None:
        self.config.write_text('[database]\nhosts = ["127.0.0.1"]\nport = 1\nconnect_timeout = "1s"\n')
        await self.admin("accounts", "list", code=75)

    async def test_quotas_are_set_shown_and_taken_away(self) -> None:
        await self.admin("accounts", "create", "--email", USER, "--password", "pass", "--quota", "64kb")
        out = await self.admin("quota", "show", "--email", USER)
        self.assertIn("storage:    0 octets of 64kb", out)
        await self.admin("quota", "set", "--email", USER, "--messages", "2", "--storage", "none")
        usage = json.loads(await self.admin("quota", "show", "--email", USER, "--json"))
        self.assertEqual(usage["limits"], {"storage": None, "messages": 2, "mailboxes": None})
        await self.admin("accounts", "update", "--email", USER, "--quota", "1gb")
        account = (await self.store.accounts.row(USER)).id
        self.assertEqual((await self.store.quotas.usage(account)).limits, Limits(storage=2**30, messages=2))
        await self.admin("quota", "clear", "--email", USER)
        self.assertFalse((await self.store.quotas.usage(account)).limits)
        await self.admin("quota", "set", "--domain", "example.com", "--storage", "10gb")
        self.assertIn("of 10gb", await self.admin("quota", "show", "--domain", "example.com"))
        await self.admin("quota", "show", code=2)
        await self.admin("quota", "set", "--email", USER, "--storage", "much", code=2)

    async def test_mailboxes_are_shared_with_accounts_and_groups(self) -> None:
        for user in (USER, "other@example.com"):
            await self.admin("accounts", "create", "--email", user, "--password", "pass")
        await self.admin("groups", "create", "--group", "$sales@example.com")
        await self.admin("groups", "add", "--group", "sales@example.com", "--email", "other@example.com")
        self.assertEqual((await self.admin("groups", "list")).split(), ["$sales@example.com", "other@example.com"])
        which = ("--email", USER, "--mailbox", "Archive")
        await self.admin("acl", "grant", *which, "--identifier", "$sales@example.com", "--rights", "lrs")
        await self.admin("acl", "grant", *which, "--identifier", "nobody@example.com", "--rights", "lrs", code=1)
        await self.admin("acl", "grant", *which, "--identifier", "anyone", "--rights", "lq", code=2)
        self.assertEqual((await self.admin("acl", "list", *which)).split(), ["$sales@example.com", "lrs"])
        other = (await self.store.accounts.row("other@example.com")).id
        self.assertEqual((await self.store.grants.seen(other, "user", "Archive")).rights, frozenset("lrs"))
        await self.admin("acl", "revoke", *which, "--identifier", "$sales@example.com")
        self.assertEqual(await self.admin("acl", "list", *which), "")
        place = ("--domain", "example.com", "--mailbox", "Sales")
        await self.admin("shared", "create", *place, "--email", USER, "--rights", "lra")
        self.assertIn("Sales", await self.admin("shared", "list", "--domain", "example.com"))
        self.assertEqual((await self.admin("acl", "list", *place)).split(), [USER, "lra"])
        await self.admin("quota", "set", "--domain", "example.com", "--shared", "--messages", "3")
        await self.admin("check")
        await self.admin("shared", "delete", *place, "--yes")
        await self.admin("groups", "delete", "--group", "$sales@example.com", "--yes")


def _reactor() -> object:
    from twisted.internet import reactor

    return reactor
