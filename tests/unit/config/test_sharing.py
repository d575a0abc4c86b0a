"""What the sections about quotas and sharing refuse."""

from twisted.trial import unittest

from sora.core.config.load import parse
from sora.core.errors import ConfigurationInvalid


class SharingTests(unittest.SynchronousTestCase):
    """[quota] and [shared_mailboxes]"""

    def test_what_cannot_be_is_complained_about(self) -> None:
        for text in (
            '[shared_mailboxes]\nnamespace_prefix = "Shared"',
            '[shared_mailboxes]\nusers_prefix = "/Users/"',
            '[shared_mailboxes]\nnamespace_prefix = "Other Users/all/"',
            '[shared_mailboxes]\ndefault_rights = "lrq"',
            '[quota]\nadmins = ["postmaster"]',
            '[quota]\nrefusal = "never"',
            "[quota]\nwarn_at = [101]",
        ):
            with self.assertRaises(ConfigurationInvalid):
                parse(text)

    def test_limits_are_read_with_their_units(self) -> None:
        limits = parse('[quota]\nstorage = "1gb"\nmessages = 10').quota_defaults()
        self.assertEqual((limits.storage, limits.messages, limits.mailboxes), (2**30, 10, None))
