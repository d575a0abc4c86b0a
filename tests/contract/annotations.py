"""What every store promises of annotations (RFC 5464)."""

from sora.core import limits
from sora.core.errors import LimitReached, NoSuchMailbox, TooManyAnnotations
from sora.core.ids import MailboxId
from sora.store.annotations import Depth
from sora.store.model import NewMailbox
from tests.contract.base import HASH, StoreContract


class AnnotationsContract(StoreContract):
    """Annotations of mailboxes and of the server."""

    async def setUp(self) -> None:
        await super().setUp()
        self.bob = await self.store.accounts.create("bob@example.org", HASH, [NewMailbox("INBOX")])

    async def test_values_are_kept_replaced_and_removed(self) -> None:
        annotations = self.store.annotations
        await annotations.write(
            self.work, self.account, {"/private/a": b"1\0\xff", "/shared/b": b"", "/private/c": b"3"}
        )
        await annotations.write(self.work, self.account, {"/private/c": None, "/private/a": b"one"})
        found = await annotations.read(self.work, self.account, ["/private", "/shared"], Depth.ALL)
        self.assertEqual(found, {"/private/a": b"one", "/shared/b": b""})
        self.assertEqual(await annotations.read(self.inbox, self.account, ["/private/a"], Depth.NOTHING), {})

    async def test_depth_is_none_one_or_all(self) -> None:
        values = {entry: b"x" for entry in ("/private/a", "/private/a/b", "/private/a/b/c", "/private/ab")}
        await self.store.annotations.write(None, self.account, values)
        for depth, found in (
            (Depth.NOTHING, ["/private/a"]),
            (Depth.CHILDREN, ["/private/a", "/private/a/b"]),
            (Depth.ALL, ["/private/a", "/private/a/b", "/private/a/b/c"]),
        ):
            read = await self.store.annotations.read(None, self.account, ["/private/a"], depth)
            self.assertEqual(list(read), found)

    async def test_who_renames_inbox_finds_its_annotations_in_both(self) -> None:
        """RFC 5464 4.1."""
        annotations, everything = self.store.annotations, ["/private", "/shared"]
        await annotations.write(self.inbox, self.account, {"/private/a": b"1", "/shared/b": b"2"})
        await self.store.mailboxes.rename_inbox(self.account, "Old", self.actor)
        old = await self.store.mailboxes.find(self.account, "Old")
        await annotations.write(self.inbox, self.account, {"/shared/b": b"3"})
        found = await annotations.read(old.id, self.account, everything, Depth.ALL)
        self.assertEqual(found, {"/private/a": b"1", "/shared/b": b"2"})
        found = await annotations.read(self.inbox, self.account, everything, Depth.ALL)
        self.assertEqual(found, {"/private/a": b"1", "/shared/b": b"3"})

    async def test_z5_private_ones_are_each_ones_own_and_shared_ones_everyones(self) -> None:
        await self.store.annotations.write(self.work, self.account, {"/private/a": b"alice", "/shared/a": b"both"})
        await self.store.annotations.write(self.work, self.bob, {"/private/a": b"bob"})
        names = ["/private/a", "/shared/a"]
        for reader, private in ((self.account, b"alice"), (self.bob, b"bob")):
            found = await self.store.annotations.read(self.work, reader, names, Depth.NOTHING)
            self.assertEqual(found, {"/private/a": private, "/shared/a": b"both"})
        await self.store.annotations.write(self.work, self.bob, {"/shared/a": None})
        self.assertEqual(
            list(await self.store.annotations.read(self.work, self.account, names, Depth.NOTHING)), names[:1]
        )

    async def test_several_mailboxes_are_read_at_once(self) -> None:
        await self.store.annotations.write(self.work, self.account, {"/shared/a": b"w", "/shared/b": b"-"})
        await self.store.annotations.write(None, self.account, {"/private/a": b"-"})
        found = await self.store.annotations.read_many(
            [self.inbox, self.work], self.account, ["/shared/a", "/private/a"]
        )
        self.assertEqual(found, {self.work: {"/shared/a": b"w"}})

    async def test_l14_reading_several_mailboxes_is_bounded(self) -> None:
        self.patch(limits, "METADATA_READ_MAX", 100)
        annotations, places = self.store.annotations, [self.inbox, self.work]
        for place in places:
            await annotations.write(place, self.account, {"/private/a": b"x" * 40})
        self.assertEqual(set(await annotations.read_many(places, self.account, ["/private/a"])), set(places))
        await annotations.write(self.work, self.account, {"/private/a": b"x" * 41, "/private/b": b"not asked for"})
        with self.assertRaises(LimitReached):
            await annotations.read_many(places, self.account, ["/private/a"])
        self.assertEqual(set(await annotations.read_many([self.inbox], self.account, ["/private/a"])), {self.inbox})

    async def test_they_end_with_their_mailbox(self) -> None:
        await self.store.annotations.write(self.work, self.account, {"/shared/a": b"w"})
        await self.store.mailboxes.delete(self.account, "Work", self.actor)
        self.assertEqual(await self.store.annotations.read(self.work, self.account, ["/shared/a"], Depth.NOTHING), {})
        with self.assertRaises(NoSuchMailbox):
            await self.store.annotations.write(MailboxId(10**9), self.account, {"/shared/a": b"w"})

    async def test_l14_there_is_a_limit_to_entries_and_octets(self) -> None:
        annotations = self.store.annotations
        full = {f"/private/{n}": b"" for n in range(limits.METADATA_ENTRIES_MAX)}
        await annotations.write(self.work, self.account, full)
        with self.assertRaises(TooManyAnnotations):
            await annotations.write(self.work, self.account, {"/shared/one": b"more"})
        await annotations.write(self.work, self.account, {"/private/0": None, "/private/1": b"x"})
        large = b"x" * (limits.METADATA_OCTETS_MAX // 2)
        with self.assertRaises(TooManyAnnotations):
            await annotations.write(self.inbox, self.account, {"/private/a": large, "/private/b": large})
        self.assertEqual(await annotations.read(self.inbox, self.account, ["/private"], Depth.ALL), {})
