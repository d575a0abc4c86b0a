"""What was built at the start is no work of the garbage collector's."""

import gc

from twisted.trial.unittest import SynchronousTestCase

from sora.service import collector


class CollectorTests(SynchronousTestCase):
    """Settling and releasing."""

    def test_what_is_there_is_left_out_until_it_is_released(self) -> None:
        """A settled object is in no generation; a released one is again."""
        here = {"built": [1]}
        self.addCleanup(collector.release)
        collector.settle()
        self.assertGreater(gc.get_freeze_count(), 0)
        self.assertFalse(any(one is here for one in gc.get_objects()))
        collector.release()
        self.assertEqual(gc.get_freeze_count(), 0)
        self.assertTrue(any(one is here for one in gc.get_objects()))
