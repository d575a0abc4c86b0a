"""What `twistd` offers: the whole server, or only the servers of one type."""

from twisted.application.service import ServiceMaker

sora = ServiceMaker("sora", "sora.tap", "A mail store: everything the configuration names.", "sora")
sora_imap = ServiceMaker("sora IMAP", "sora.tap_imap", "A mail store: its IMAP servers only.", "sora-imap")
sora_lmtp = ServiceMaker("sora LMTP", "sora.tap_lmtp", "A mail store: its LMTP servers only.", "sora-lmtp")
