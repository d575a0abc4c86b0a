"""D8 from end to end: staged bodies, an uploader, S3's client and an S3 that misbehaves on a seed."""

from typing import Any

from twisted.internet import reactor

from sora import aio
from sora.jobs.upload import Uploader
from tests.integration.fake_s3 import Chaos, Fault
from tests.integration.test_s3_faults import S3Case
from tests.unit.jobs.test_upload import FakeBodies

AMONG = (
    Fault.UNAVAILABLE,
    Fault.INTERNAL,
    Fault.THROTTLED,
    Fault.FORBIDDEN,
    Fault.RESET,
    Fault.STALL,
    Fault.WRONG_TAG,
    Fault.DROPPED,
)


class Restaged(FakeBodies):
    """Staged bodies that are due again at once when an upload failed."""

    def __init__(self, check: Any) -> None:
        super().__init__()
        self.check = check
        self.bytes: dict[int, bytes] = {}

    def stage(self, number: int, data: bytes, **rest: Any) -> None:
        self.bytes[number] = data
        super().stage(number, data, **rest)

    def claim_uploads(self, *args: Any, uploaded: Any = (), **rest: Any) -> Any:
        self.checked(uploaded)
        return super().claim_uploads(*args, uploaded=uploaded, **rest)

    def uploaded(self, bodies: Any) -> Any:
        self.checked(bodies)
        return super().uploaded(bodies)

    def checked(self, bodies: Any) -> None:
        for body in bodies:
            self.check(body, self.bytes[body])

    def upload_failed(self, body: Any, reason: str, retry_after: float) -> Any:
        self.stage(body, self.bytes[body])
        return super().upload_failed(body, reason, retry_after)


class UploadUnderFaultsTests(S3Case):
    """Whatever S3 does, a body counts as uploaded only when it is there."""

    async def test_d8_every_body_arrives_and_none_is_recorded_before_it_did(self) -> None:
        def check(body: int, data: bytes) -> None:
            self.assertEqual(self.s3.objects[f"key/{body}"][0], data)

        for seed in (11, 12, 13):
            bodies = Restaged(check)
            self.s3.faults = Chaos(seed, 0.4, AMONG)
            self.s3.objects.clear()
            for number in range(30):
                bodies.stage(number, b"%d/%d" % (seed, number) * 100)
            store = self.store(timeout=0.05, deadline=0.5, breaker_failures=1000, attempts_max=2)
            uploader = Uploader(bodies, store, clock=reactor, interval=0.02, concurrency=4)
            uploader.startService()
            while len(recorded := {entry[1] for entry in bodies.log if entry[0] == "uploaded"}) < 30:
                await aio.sleep(reactor, 0.01)
            await uploader.stopService()
            self.assertEqual(recorded, set(range(30)))
            self.assertIn("failed", {entry[0] for entry in bodies.log})
