"""`sora-admin` over a store in memory: what it does, says and ends with."""

import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import attrs
from blake3 import blake3
from click.testing import CliRunner, Result
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial import unittest

from sora.admin.cli import main
from sora.admin.invocation import Invocation
from sora.core.config.model import Configuration
from sora.core.errors import DatabaseUnavailable
from sora.sasl.passwords import verify
from sora.store.memory import MemoryObjects, MemoryStore
from sora.store.model import AccountStatus, BodyRef, Finding, NewMailbox, Slice

USER = "user@example.com"
CONFIG = "[auth]\nbcrypt_cost = 10\n"


@attrs.define
class MemoryStorage:
    """What commands work on."""

    store: MemoryStore
    objects: MemoryObjects
    closed: int = 0

    async def close(self) -> None:
        self.closed += 1


class CliTestCase(unittest.SynchronousTestCase):
    """Runs commands."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(10 * 86_400)
        self.storage = MemoryStorage(MemoryStore(self.clock), MemoryObjects(self.clock))
        self.opened: list[Configuration] = []
        self.away = False
        folder = Path(self.mktemp())
        folder.mkdir()
        self.folder = folder.absolute()
        self.config = self.folder / "sora.toml"
        self.config.write_text(CONFIG)

    async def _open(self, configuration: Configuration, _: Any) -> MemoryStorage:
        self.opened.append(configuration)
        if self.away:
            raise DatabaseUnavailable("the database is away")
        return self.storage

    def _run_now(self, work: Callable[[Any], Coroutine[Deferred[Any], Any, Any]]) -> Any:
        result: list[Any] = []
        Deferred.fromCoroutine(work(self.clock)).addBoth(result.append)
        (value,) = result
        if hasattr(value, "raiseException"):
            value.raiseException()
        return value

    def admin(self, *arguments: str, stdin: str | None = None) -> Result:
        invocation = Invocation(
            open_storage=self._open,
            run=self._run_now,
            default_mailboxes=lambda: (NewMailbox("INBOX"), NewMailbox("Sent")),
        )
        return CliRunner().invoke(main, list(arguments), input=stdin, obj=invocation)

    def done(self, *arguments: str, stdin: str | None = None) -> str:
        result = self.admin(*arguments, stdin=stdin)
        self.assertEqual(result.exit_code, 0, result.output)
        return result.stdout

    def create(self, address: str = USER) -> None:
        self.done("accounts", "create", "-c", str(self.config), "--email", address, "--password-stdin", stdin="first\n")

    def hash_of(self, address: str = USER) -> str:
        login = self.successResultOf(self.storage.store.accounts.login(address))
        assert login is not None
        return login.credentials[0].hash


class AccountsTests(CliTestCase):
    """`sora-admin accounts`."""

    def test_an_account_is_created_with_its_mailboxes_as_operators_are_used_to(self) -> None:
        result = self.admin("accounts", "create", "--config", str(self.config), "--email", USER, "--password", "pass")
        self.assertEqual((result.exit_code, result.stdout), (0, f"created {USER}\n"))
        self.assertIn("visible to others", result.stderr)
        self.assertNotIn("pass\n", result.stderr.replace("password", ""))
        self.assertTrue(verify(b"pass", self.hash_of()))
        self.assertEqual(self.successResultOf(self.storage.store.accounts.row(USER)).mailboxes, 2)
        self.assertEqual((len(self.opened), self.storage.closed), (1, 1))

    def test_the_configuration_is_named_before_or_after_the_subcommand(self) -> None:
        file = str(self.config)
        for arguments in (
            ("--config", file, "accounts", "list"),
            ("accounts", "--config", file, "list"),
            ("accounts", "list", "--config", file),
        ):
            self.done(*arguments)
            self.assertEqual(self.opened[-1].auth.bcrypt_cost, 10, arguments)

    def test_the_address_is_canonical(self) -> None:
        self.create("USER@Example.COM")
        self.assertIn(USER, self.done("accounts", "show", "--email", USER))
        for wrong in ("nonsense", "a@b@", "user+tag@example.com"):
            result = self.admin("accounts", "create", "--email", wrong, "--password-stdin", stdin="x\n")
            self.assertEqual(result.exit_code, 2)
            self.assertIn(wrong, result.stderr)

    def test_creating_what_exists_is_refused_with_what_to_do(self) -> None:
        self.create()
        result = self.admin("accounts", "create", "--email", USER, "--password-stdin", stdin="x\n")
        self.assertEqual(result.exit_code, 1)
        self.assertIn(f"{USER} is taken", result.stderr)
        self.assertIn("accounts update", result.stderr)
        self.assertTrue(verify(b"first", self.hash_of()))

    def test_a_password_that_cannot_be_one_is_refused(self) -> None:
        for password, reason in (("", "empty"), ("x" * 73, "longer than 72")):
            result = self.admin("accounts", "create", "--email", USER, "--password-stdin", stdin=password + "\n")
            self.assertEqual(result.exit_code, 1)
            self.assertIn(reason, result.stderr)
        self.assertEqual(self.opened, [])

    def test_without_a_terminal_there_is_no_prompt(self) -> None:
        result = self.admin("accounts", "create", "--email", USER)
        self.assertEqual(result.exit_code, 2)
        self.assertIn("--password-stdin", result.stderr)

    def test_a_list_shows_every_account_of_a_domain(self) -> None:
        for address in ("b@example.com", "a@example.com", "c@example.net"):
            self.create(address)
        shown = [json.loads(line)["address"] for line in self.done("accounts", "list", "--json").splitlines()]
        self.assertEqual(shown, ["a@example.com", "b@example.com", "c@example.net"])
        self.assertEqual(len(self.done("accounts", "list", "--domain", "EXAMPLE.net").splitlines()), 1)

    def test_an_update_changes_password_aliases_and_status(self) -> None:
        self.create()
        self.done("accounts", "update", "--config", str(self.config), "--email", USER, "--password", "newpass")
        self.assertTrue(verify(b"newpass", self.hash_of()))
        for _ in range(2):
            self.done("accounts", "update", "--email", USER, "--add-alias", "info@example.com", "--status", "suspended")
        row = self.successResultOf(self.storage.store.accounts.row("info@example.com"))
        self.assertEqual((row.aliases, row.status), (("info@example.com",), AccountStatus.SUSPENDED))
        for _ in range(2):
            self.done("accounts", "update", "--email", USER, "--remove-alias", "info@example.com")
        self.assertTrue(verify(b"newpass", self.hash_of()))
        self.assertEqual(self.admin("accounts", "update", "--email", USER, "--remove-alias", USER).exit_code, 1)

    def test_a_deleted_account_can_come_back(self) -> None:
        self.create()
        self.assertEqual(self.admin("accounts", "delete", "--email", USER, stdin="n\n").exit_code, 1)
        for _ in range(2):
            self.done("accounts", "delete", "--email", USER, "--yes")
        self.assertIn("deleted", self.done("accounts", "show", "--email", USER))
        self.done("accounts", "update", "--email", USER, "--status", "active")
        self.assertIn("active", self.done("accounts", "show", "--email", USER))

    def test_an_account_that_is_not_there_is_told(self) -> None:
        for command in (("show",), ("delete", "--yes"), ("update", "--status", "active")):
            result = self.admin("accounts", command[0], "--email", "none@example.com", *command[1:])
            self.assertEqual(result.exit_code, 1, result.output)
            self.assertIn("none@example.com", result.stderr)

    def test_a_database_that_is_away_has_an_exit_code_of_its_own(self) -> None:
        self.away = True
        result = self.admin("accounts", "list")
        self.assertEqual((result.exit_code, result.stderr), (75, "sora-admin: the database is away\n"))

    def test_a_wrong_configuration_ends_the_command_with_every_complaint(self) -> None:
        self.config.write_text("[auth]\nbcrypt_cost = 99\nx = 1\n")
        result = self.admin("accounts", "list", "--config", str(self.config))
        self.assertEqual(result.exit_code, 2)
        self.assertEqual(len(result.stderr.splitlines()), 2)
        self.assertIn(f"{self.config}:2: auth.bcrypt_cost", result.stderr)


class CheckTests(CliTestCase):
    """`sora-admin check`."""

    def body(self, number: int, key: str, *, size: int = 4, staged: bool = False) -> BodyRef:
        return BodyRef(id=number, hash=blake3(b"body").digest(), size=size, object_key=key, staged=staged)  # type: ignore[arg-type]

    def put(self, key: str, data: bytes = b"body") -> None:
        self.successResultOf(self.storage.objects.put(key, data))

    def with_bodies(self, *refs: BodyRef, findings: tuple[Finding, ...] = ()) -> None:
        class Audit:
            def next_slice(self, done: Slice | None) -> "Deferred[Slice | None]":
                return succeed(Slice("mailboxes") if done is None else None)

            def findings(self, among: Slice) -> "Deferred[list[Finding]]":
                return succeed(list(findings))

            def keyed(self, *, after: str, upto: str | None, limit: int) -> "Deferred[list[BodyRef]]":
                chosen = [ref for ref in refs if ref.object_key > after and (upto is None or ref.object_key <= upto)]
                return succeed(sorted(chosen, key=lambda ref: ref.object_key)[:limit])

            def repair(self, finding: Finding) -> "Deferred[bool]":
                return succeed(finding.kind == "counter")

            def settle(self, body: int, *, stored: bool) -> "Deferred[None]":
                return succeed(settled.append((body, stored)))

            def discard(self, keys: list[str]) -> "Deferred[None]":
                return succeed(discarded.extend(keys))

            def references(self, *, after: int, limit: int) -> "Deferred[list[BodyRef]]":
                return succeed([ref for ref in refs if ref.id > after][:limit])

            def known_keys(self, keys: list[str]) -> "Deferred[set[str]]":
                return succeed({ref.object_key for ref in refs} & set(keys))

        settled: list[tuple[int, bool]] = []
        discarded: list[str] = []
        self.settled, self.discarded = settled, discarded
        self.storage.store.audit = Audit()  # type: ignore[assignment]

    def test_an_empty_and_an_agreeing_store_are_right(self) -> None:
        self.assertIn("nothing is wrong", self.done("check"))
        self.put("a")
        self.put("b")
        self.with_bodies(*(self.body(n, key) for n, key in enumerate("ab", 1)), self.body(3, "c", staged=True))
        self.assertIn("3 bodies, 2 objects: nothing is wrong", self.done("check"))

    def test_everything_wrong_is_found(self) -> None:
        self.put("short", b"bod")
        self.put("long", b"body and more")
        self.put("orphan")
        self.clock.advance(86_401)
        self.put("young")
        self.with_bodies(
            self.body(1, "short"),
            self.body(2, "missing"),
            self.body(3, "long"),
            findings=(Finding("counter", "mailbox 1", "says 2, has 1"),),
        )
        result = self.admin("check", "--json")
        self.assertEqual(result.exit_code, 1)
        *found, summary = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual(
            sorted((one["kind"], one["where"]) for one in found),
            [
                ("counter", "mailbox 1"),
                ("object-missing", "body 2 (missing)"),
                ("object-orphan", "orphan"),
                ("object-size", "body 1 (short)"),
                ("object-size", "body 3 (long)"),
            ],
        )
        self.assertEqual(summary, {"findings": 5, "repaired": 0, "complete": True, "bodies": 3, "objects": 4})
        self.assertEqual({one["repaired"] for one in found}, {False})

    def test_d14_contents_are_compared_by_hash_if_asked(self) -> None:
        self.put("right")
        self.put("wrong", b"bodY")
        self.put("short", b"bod")
        self.with_bodies(*(self.body(n, key) for n, key in enumerate(("right", "wrong", "short", "missing"), 1)))
        self.assertNotIn("object-hash", self.admin("check").stdout)
        result = self.admin("check", "--contents")
        self.assertEqual(result.exit_code, 1)
        kinds = [line.partition(" (")[0] for line in result.stdout.splitlines()[:-1]]
        self.assertCountEqual(kinds, ["object-hash: body 2", "object-size: body 3", "object-missing: body 4"])

    def test_d14_what_can_be_known_is_repaired_and_the_rest_is_listed(self) -> None:
        self.put("here")
        self.put("orphan")
        self.clock.advance(86_401)
        self.with_bodies(
            self.body(1, "here"),
            self.body(2, "gone"),
            self.body(3, "staged", staged=True),
            findings=(
                Finding("counter", "mailbox 1", "says 2, has 1", (1,)),
                Finding("body-without-bytes", "body 1", "its object is there", (1,)),
                Finding("staged-though-stored", "body 3", "its object is not there", (3,)),
                Finding("staged-though-stored", "body 9", "collected meanwhile", (9,)),
            ),
        )
        result = self.admin("check", "--repair")
        self.assertEqual(result.exit_code, 1)
        left = [line for line in result.stdout.splitlines()[:-1] if not line.endswith("(repaired)")]
        self.assertEqual(
            [line.partition(" (")[0] for line in left],
            [
                "staged-though-stored: body 9: collected meanwhile",
                "object-missing: body 2",
                "object-orphan: orphan: no body names this object of 4 octets",
            ],
        )
        self.assertEqual((self.settled, self.discarded), ([(1, True), (3, False)], []))
        self.assertIn("6 findings, 3 repaired", result.stdout)
        self.admin("check", "--repair", "--discard-orphans")
        self.assertEqual(self.discarded, ["orphan"])

    def test_a_repair_that_leaves_nothing_succeeds(self) -> None:
        self.with_bodies(findings=(Finding("counter", "mailbox 1", "says 2, has 1", (1,)),))
        self.assertEqual(self.admin("check").exit_code, 1)
        self.assertIn("1 findings, 1 repaired", self.done("check", "--repair"))

    def test_sealed_objects_may_be_longer_than_their_bodies(self) -> None:
        self.config.write_text(f'[storage.sealing.keys]\nk = "{"00" * 32}"\n')
        self.put("a", b"body and seal")
        self.with_bodies(self.body(1, "a"))
        self.done("check", "--config", str(self.config))

    def test_an_object_store_that_is_away_is_no_finding(self) -> None:
        self.storage.objects.away = True
        self.with_bodies(self.body(1, "a"))
        self.assertEqual(self.admin("check").exit_code, 75)
