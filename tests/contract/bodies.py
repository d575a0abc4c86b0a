"""The contract of `store.interfaces.Bodies` and `Audit`: staging, upload, collection."""

import random

from sora.aio import gather
from sora.core.flags import DELETED
from sora.core.ids import BodyId, ModSeq
from sora.store.model import Inserted, Want
from tests.contract.base import StoreContract
from tests.contract.mail import message, new_body, new_message

LEASE = 300.0


class BodiesContract(StoreContract):
    """Where bytes are, and when they may go."""

    async def stage(self, raw: bytes | None = None) -> Inserted:
        """Insert a message with a staged body."""
        (done,) = await self.insert(new_message(self.inbox, raw))
        return done

    async def expunge_all(self) -> None:
        """Expunge all messages of INBOX."""
        await self.store.mailboxes.find(self.account, "INBOX")
        uids = await self.uids()
        await self.store.messages.move(self.inbox, uids, self.work, self.actor)
        await self.store.mailboxes.delete(self.account, "Work", self.actor)

    async def collect(self, *, grace: float = 0.0, generation: float = 0.0, times: int = 4) -> list[str]:
        """Collect several steps and return the keys that may be deleted at their end."""
        for _ in range(times):
            keys = await self.store.bodies.collect(grace=grace, generation=generation, limit=1000)
        return keys

    # ------------------------------------------------------------ staging and upload

    async def test_d9_a_body_awaiting_upload_is_readable(self) -> None:
        raw = message("Staged")
        done = await self.stage(raw)
        self.assertTrue(done.body.staged)
        self.assertEqual(await self.store.bodies.staged([done.body.id, BodyId(987_654)]), {done.body.id: raw})
        row = await self.fetched(done.uid, Want.BYTES)
        self.assertTrue(row.ref.staged)

    async def test_an_uploaded_body_is_no_longer_staged(self) -> None:
        done = await self.stage()
        await self.store.bodies.uploaded([done.body.id])
        self.assertEqual(await self.store.bodies.staged([done.body.id]), {})
        self.assertFalse((await self.fetched(done.uid, Want.BYTES)).ref.staged)
        self.assertEqual(await self.store.bodies.claim_uploads(10, LEASE), [])
        await self.store.bodies.uploaded([done.body.id])

    async def test_an_empty_body_is_staged_too(self) -> None:
        body = new_body(b"", fields={}, header=b"")
        (done,) = await self.insert(new_message(self.inbox, body=body))
        self.assertEqual(await self.store.bodies.staged([done.body.id]), {done.body.id: b""})

    async def test_a_body_the_object_store_has_already_is_not_staged(self) -> None:
        body = new_body(message("Large"), staged=False)
        (done,) = await self.insert(new_message(self.inbox, body=body))
        self.assertEqual((done.body.staged, done.body.object_key), (False, body.object_key))
        self.assertEqual(await self.store.bodies.claim_uploads(10, LEASE), [])

    async def test_no_two_claimants_get_the_same_upload(self) -> None:
        made = {(await self.stage()).body.id for _ in range(6)}
        claims = await gather([self.store.bodies.claim_uploads(2, LEASE) for _ in range(4)])
        claimed = [upload.ref.id for claim in claims for upload in claim]
        self.assertEqual(len(claimed), len(set(claimed)))
        rest = [upload.ref.id for upload in await self.store.bodies.claim_uploads(10, LEASE)]
        self.assertEqual(sorted(claimed + rest), sorted(made))
        self.assertTrue(all(len(claim) <= 2 for claim in claims))

    async def test_a_claim_brings_the_bytes(self) -> None:
        raw = message("Claimed")
        done = await self.stage(raw)
        (upload,) = await self.store.bodies.claim_uploads(10, LEASE)
        self.assertEqual((upload.ref, upload.data), (done.body, raw))

    async def test_a_claim_records_what_was_uploaded_before(self) -> None:
        first, second = await self.stage(), await self.stage()
        (claimed,) = await self.store.bodies.claim_uploads(1, LEASE)
        self.assertEqual(claimed.ref.id, first.body.id)
        (claimed,) = await self.store.bodies.claim_uploads(10, LEASE, uploaded=[first.body.id])
        self.assertEqual(claimed.ref.id, second.body.id)
        self.assertEqual(list(await self.store.bodies.staged([first.body.id, second.body.id])), [second.body.id])
        self.assertFalse((await self.fetched(first.uid, Want.BYTES)).ref.staged)

    async def test_a_claim_ends_before_it_brings_too_many_octets_but_not_without_one(self) -> None:
        made = [(await self.stage(message(f"Body {number}"))).body for number in range(4)]
        octets = made[0].size + made[1].size
        for expected in (made[:2], made[2:3], made[3:]):
            claimed = await self.store.bodies.claim_uploads(10, LEASE, octets_max=octets if expected == made[:2] else 1)
            self.assertEqual([upload.ref for upload in claimed], expected)

    async def test_a_lease_that_ended_is_claimed_again(self) -> None:
        await self.stage()
        self.assertEqual(len(await self.store.bodies.claim_uploads(10, 0.0)), 1)
        self.assertEqual(len(await self.store.bodies.claim_uploads(10, LEASE)), 1)
        self.assertEqual(len(await self.store.bodies.claim_uploads(10, LEASE)), 0)

    async def test_a_failed_upload_comes_again_when_its_time_has_come(self) -> None:
        done = await self.stage()
        (first,) = await self.store.bodies.claim_uploads(10, LEASE)
        await self.store.bodies.upload_failed(done.body.id, "503 slow down", 3600.0)
        self.assertEqual(await self.store.bodies.claim_uploads(10, LEASE), [])
        await self.store.bodies.upload_failed(done.body.id, "503 slow down", 0.0)
        (again,) = await self.store.bodies.claim_uploads(10, LEASE)
        self.assertGreater(again.attempts, first.attempts)

    async def test_the_backlog_counts_bodies_and_octets(self) -> None:
        self.assertEqual((await self.store.bodies.upload_backlog())[:2], (0, 0))
        made = [(await self.stage()).body for _ in range(3)]
        count, octets, age = await self.store.bodies.upload_backlog()
        self.assertEqual((count, octets), (3, sum(ref.size for ref in made)))
        self.assertGreaterEqual(age, 0.0)
        await self.store.bodies.uploaded([made[0].id])
        self.assertEqual((await self.store.bodies.upload_backlog())[0], 2)

    # ------------------------------------------------------------ collection

    async def test_a_body_in_use_is_never_collected(self) -> None:
        done = await self.stage()
        await self.store.bodies.uploaded([done.body.id])
        self.assertEqual(await self.collect(), [])
        self.assertEqual([ref.id for ref in await self.references()], [done.body.id])

    async def references(self) -> list:
        """List all bodies."""
        return await self.store.audit.references(after=BodyId(0), limit=100)

    async def test_an_expunged_message_keeps_its_body_until_the_grace_ends(self) -> None:
        done = await self.stage()
        await self.store.bodies.uploaded([done.body.id])
        await self.expunge_all()
        self.assertEqual(await self.collect(grace=3600.0), [])
        self.assertEqual(len(await self.references()), 1)
        self.assertEqual(await self.collect(), [done.body.object_key])
        self.assertEqual(await self.references(), [])

    async def test_who_asks_when_tombstones_are_collected_still_learns_what_vanished(self) -> None:
        done = await self.stage()
        known = (await self.store.mailboxes.changes(self.inbox, ModSeq(0))).mailbox.highest_modseq
        await self.expunge_all()
        await self.collect()
        changes = await self.store.mailboxes.changes(self.inbox, known)
        self.assertEqual(list(changes.columns.uids), [])
        self.assertTrue(changes.whole or done.uid in changes.vanished, "a view would show it for ever")
        later = await self.store.mailboxes.changes(self.inbox, changes.mailbox.highest_modseq)
        self.assertFalse(later.whole)

    async def test_d10_a_body_nobody_refers_to_waits_one_generation(self) -> None:
        done = await self.stage()
        await self.store.bodies.uploaded([done.body.id])
        await self.expunge_all()
        self.assertEqual(await self.collect(generation=3600.0), [])
        self.assertEqual(len(await self.references()), 1)

    async def test_d10_a_condemned_body_that_is_needed_again_stays(self) -> None:
        raw = message("Back again")
        done = await self.stage(raw)
        await self.store.bodies.uploaded([done.body.id])
        await self.expunge_all()
        await self.collect(generation=3600.0)
        again = await self.stage(raw)
        self.assertEqual(again.body.id, done.body.id)
        self.assertEqual(await self.collect(), [])
        self.assertEqual([ref.object_key for ref in await self.references()], [again.body.object_key])

    async def test_d10_a_body_that_comes_after_its_collection_has_a_new_key(self) -> None:
        raw = message("Back too late")
        done = await self.stage(raw)
        await self.store.bodies.uploaded([done.body.id])
        await self.expunge_all()
        keys = await self.collect()
        again = await self.stage(raw)
        self.assertNotIn(again.body.object_key, keys)
        self.assertNotIn(again.body.object_key, await self.collect())
        self.assertEqual(await self.store.bodies.staged([again.body.id]), {again.body.id: raw})

    async def test_d10_a_body_shared_by_a_copy_outlives_the_original(self) -> None:
        done = await self.stage()
        await self.store.bodies.uploaded([done.body.id])
        sent = (await self.row("Sent")).id
        await self.store.messages.copy(self.inbox, [done.uid], sent)
        await self.expunge_all()
        self.assertEqual(await self.collect(), [])
        self.assertEqual(len(await self.references()), 1)

    async def test_keys_stay_listed_until_they_are_discarded(self) -> None:
        done = await self.stage()
        await self.store.bodies.uploaded([done.body.id])
        await self.expunge_all()
        keys = await self.collect()
        self.assertEqual(await self.collect(times=1), keys)
        self.assertEqual(await self.store.audit.known_keys([*keys, "global/none"]), set(keys))
        await self.store.bodies.discarded(keys)
        self.assertEqual(await self.collect(times=1), [])
        self.assertEqual(await self.store.audit.known_keys(keys), set())

    async def test_an_object_put_for_a_body_that_was_there_is_given_back(self) -> None:
        raw = message("Large, twice")
        first, second = new_body(raw, staged=False), new_body(raw, staged=False)
        await self.insert(new_message(self.inbox, body=first))
        (done,) = await self.insert(new_message(self.work, body=second))
        self.assertEqual(done.body.object_key, first.object_key)
        self.assertNotIn(first.object_key, await self.collect())

    async def test_d10_collection_never_touches_what_anything_refers_to(self) -> None:
        chance = random.Random(7)  # noqa: S311  the same interleaving each time
        raws = [message(f"Body {number}") for number in range(5)]

        def step():
            uids = sorted(chance.sample(range(1, 30), 4))
            match chance.randrange(7):
                case 0 | 1:
                    bits = chance.choice([0, DELETED])
                    return self.store.messages.insert([new_message(self.inbox, chance.choice(raws), flags=bits)])
                case 2:
                    return self.store.messages.copy(self.inbox, uids, self.work)
                case 3:
                    return self.store.messages.move(self.work, uids, self.inbox, self.actor)
                case 4:
                    return self.store.messages.expunge(self.inbox, None, self.actor)
                case 5:
                    return self.store.bodies.uploaded([BodyId(chance.randrange(1, 8))])
                case _:
                    return self.store.bodies.collect(grace=0.0, generation=0.0, limit=100)

        for _ in range(25):
            await gather([step() for _ in range(3)])
            free = set(await self.store.bodies.collect(grace=0.0, generation=0.0, limit=100))
            for name, where in (("INBOX", self.inbox), ("Work", self.work)):
                rows = await self.store.messages.fetch(where, await self.uids(name), Want.BYTES)
                self.assertEqual({row.ref.object_key for row in rows} & free, set())
                staged = await self.store.bodies.staged([row.ref.id for row in rows if row.ref.staged])
                self.assertEqual({row.ref.id for row in rows if row.ref.staged}, set(staged))
        self.assertEqual(await self.store.audit.findings(), [])

    # ------------------------------------------------------------ audit

    async def test_a_store_in_use_has_no_findings(self) -> None:
        await self.fill(3, flags=DELETED)
        await self.store.messages.expunge(self.inbox, [1], self.actor)
        await self.store.messages.copy(self.inbox, [2], self.work)
        self.assertEqual(await self.store.audit.findings(), [])

    async def test_references_are_listed_in_pages(self) -> None:
        made = sorted([(await self.stage()).body.id for _ in range(3)])
        first = await self.store.audit.references(after=BodyId(0), limit=2)
        self.assertEqual([ref.id for ref in first], made[:2])
        rest = await self.store.audit.references(after=first[-1].id, limit=2)
        self.assertEqual([ref.id for ref in rest], made[2:])

    async def test_bodies_are_listed_by_their_keys(self) -> None:
        keys = sorted([(await self.stage()).body.object_key for _ in range(3)])
        listed = await self.store.audit.keyed(after="", upto=None, limit=2)
        self.assertEqual([ref.object_key for ref in listed], keys[:2])
        listed = await self.store.audit.keyed(after=keys[0], upto=keys[1], limit=9)
        self.assertEqual([ref.object_key for ref in listed], keys[1:2])

    async def test_only_what_nobody_names_is_discarded(self) -> None:
        key = (await self.stage()).body.object_key
        await self.store.audit.discard([key, "global/none"])
        self.assertEqual(await self.store.audit.known_keys([key, "global/none"]), {key, "global/none"})
        self.assertNotIn(key, await self.store.bodies.collect(grace=0.0, generation=0.0, limit=9))

    async def test_keys_of_bodies_are_known(self) -> None:
        done = await self.stage()
        key = done.body.object_key
        self.assertEqual(await self.store.audit.known_keys([key, "global/none"]), {key})
        self.assertEqual(await self.store.audit.known_keys([]), set())
