"""Every ceiling, with its reason. What operators may change has the same name in the configuration.

Zero never means unlimited. Sizes are in octets, times in seconds.
"""

from typing import Final

# What one peer can make us hold
UNAUTHENTICATED_HELD_MAX: Final = 65_536
"""Promise P6: octets held for a peer that has not signed in, on any protocol."""
UNAUTHENTICATED_TIME_MAX: Final = 60.0
"""Promise P6: seconds until a peer must have signed in."""
BAD_COMMANDS_MAX: Final = 20
"""Malformed commands in a row until the connection is closed."""

# What a peer that does not read can make us hold
WRITE_PIECE_MAX: Final = 262_144
"""Octets given to the system at once; what is larger waits until the piece before it was taken."""
SLOW_READER_TIME_MAX: Final = 120.0
"""Seconds in which a peer must take a piece: 2 KB a second, slower than any line that mail is read over."""
LINGER_TIME_MAX: Final = 30.0
"""Seconds in which a peer must take the last words before its connection is reset."""

# What a peer that sends compressed octets can make us hold and do
INFLATE_PIECE_MAX: Final = 65_536
"""Octets expanded at once; the next piece comes when the one before has been carried out."""
INFLATE_RATIO_MAX: Final = 100
"""Octets that each octet sent may become in the long run: mail reaches 10, DEFLATE itself can do 1,000."""
INFLATE_FREE_MAX: Final = 134_217_728
"""Octets beyond that ratio: a message or two of nothing but zeros, of the largest size."""

# What one connection can make the others wait
TURN_TIME_MAX: Final = 0.005
"""Seconds after which long work lets others have their turn: a NOOP needs several, and 50 ms would be felt."""

# IMAP
IMAP_LINE_MAX: Final = 65_536
"""Octets of one command without its literals (RFC 7162 4 asks for at least 8,192)."""
IMAP_LINE_MAX_UNAUTHENTICATED: Final = 8_192
IMAP_LITERAL_MAX: Final = 65_536
"""One literal of any command but APPEND."""
IMAP_LITERAL_MAX_UNAUTHENTICATED: Final = 4_096
"""A literal before login: a name or a password."""
IMAP_LITERAL_MINUS_MAX: Final = 4_096
"""A literal that is sent unasked, where LITERAL- is advertised (RFC 7888 5)."""
IMAP_LITERALS_MAX: Final = 131_072
"""The sum of all literals of one command but APPEND's message (CVE-2024-34055)."""
IMAP_LITERAL_COUNT_MAX: Final = 1_000
SESSION_MEMORY: Final = 67_108_864
"""Octets of messages that a session holds at once (setting `session_memory`): one APPEND's, an answer to FETCH."""
COMMAND_TIME_MAX: Final = 600.0
"""Seconds for one command but FETCH (setting `command_timeout`): ten statements of the longest kind in a row."""
USER_CONNECTIONS_MAX: Final = 100
"""Connections of one account (setting `max_connections_per_user`): a phone keeps twenty, a household five devices."""
IMAP_DRAIN_MAX: Final = 134_217_728
"""A refused non-synchronizing literal up to this size is read and dropped; above it: BYE."""
IMAP_NESTING_MAX: Final = 32
"""Parentheses within parentheses in any command."""
IMAP_LIST_ITEMS_MAX: Final = 1_000
"""Members of one parenthesized list (fetch items, header names, flags)."""
IMAP_SET_RANGES_MAX: Final = 10_000
"""Ranges of one sequence set."""
IMAP_SEARCH_KEYS_MAX: Final = 1_000
IMAP_SEARCH_TEXT_MAX: Final = 1_000
"""Octets of one text that is searched for: PostgreSQL's substring search is quadratic in the worst case."""
IMAP_SORT_KEYS_MAX: Final = 20
"""Keys of one SORT: twice as many as there are."""
IMAP_THREAD_MESSAGES_MAX: Final = 200_000
"""Messages of one THREAD: half a kilobyte of memory each while it is made."""
IMAP_CONTEXTS_MAX: Final = 8
"""Searches with UPDATE of one session (RFC 5267 4.3.1)."""
IMAP_CONTEXT_MESSAGES_MAX: Final = 200_000
"""Results that the contexts of one session remember together: 8 octets each."""
IMAP_PATTERN_MAX: Final = 1_024
"""Octets of one LIST pattern."""
IMAP_NOTIFY_GROUPS_MAX: Final = 32
"""Groups of events in NOTIFY; their mailboxes together are bounded as one list."""
IMAP_NOTIFY_EVENTS_MAX: Final = 16
"""Events of one group in NOTIFY: twice as many as there are."""
IMAP_NOTIFY_MAILBOXES_MAX: Final = 12_000
"""Mailboxes of which NOTIFY keeps the counters: all of an account, and some of others."""
IMAP_NOTIFY_ENTRIES_MAX: Final = 20_000
"""Annotations of which NOTIFY keeps what tells their values apart."""
IMAP_LANGUAGES_MAX: Final = 32
"""Languages that LANGUAGE names."""
IMAP_FETCH_PAGE: Final = 500
"""Messages read from the database at once while answering FETCH."""
IMAP_LISTING_PAGE: Final = 1_000
"""Messages whose envelopes, structures, sizes and dates are read at once: about half a megabyte, in columns."""
IMAP_CHANGE_PAGE: Final = 5_000
"""Messages that STORE, MOVE and EXPUNGE change in one transaction: each of those is whole, and others come between."""
IMAP_BODY_PAGE_MAX: Final = 4_194_304
"""Octets of bodies read ahead at once while answering FETCH."""

# Messages and MIME
MESSAGE_MAX: Final = 52_428_800
"""Default largest message by LMTP and APPEND (setting `message_max`)."""
STAGING_MAX: Final = 1_048_576
"""Bodies up to this size are staged in PostgreSQL (setting `staging_max`); psycopg2 sends them as hex."""
HEADER_SCAN_MAX: Final = 1_048_576
"""Octets of one header block that are read as header fields; fetching returns all octets regardless."""
HEADER_STORED_MAX: Final = 65_536
"""A header block up to this size is kept beside the envelope, so that header fetches need no body."""
MIME_PARTS_MAX: Final = 1_000
"""Body parts described by BODYSTRUCTURE; what follows belongs to the last part described."""
MIME_DEPTH_MAX: Final = 100
"""Multiparts and messages within each other."""
MIME_PARAMETERS_MAX: Final = 100
"""Parameters of one header field, RFC 2231 fragments included."""
ADDRESSES_MAX: Final = 1_000
"""Addresses of one header field that ENVELOPE shows."""
ENVELOPE_FIELD_MAX: Final = 32_768
"""Octets of one header field that ENVELOPE shows."""
TEXT_MAX: Final = 1_048_576
"""Characters of decoded body text kept for search; longer bodies are searched from their bytes."""
MIME_HEADERS_MAX: Final = 262_144
"""Octets of the header fields of all body parts that are kept for search; beyond it bytes decide."""
TEXT_SEGMENT: Final = 512
"""Messages of a segment of a text index: those beyond the last one are passed over, and a mailbox of fewer has none."""
TEXT_PLACES_MAX: Final = 16_384
"""Bits of a message in a text index: enough for texts of 30 KB; longer ones are looked at more often than need be."""
TEXT_INDEXED_MAX: Final = 131_072
"""Octets of a text that a text index describes; a longer one has something of everything, so it is always looked at."""
TEXT_GRAMS_MAX: Final = 12
"""Grams of one sought text that a text index is asked for: more would hardly leave out more."""
TEXT_SOUGHT_MAX: Final = 20
"""Sought texts of one search that a text index is asked for; all others are sought in what these leave."""
TEXT_INDEX_UNUSED_MAX: Final = 30 * 86_400
"""Seconds until a text index goes that no search asked."""
PREVIEW_MAX: Final = 200
"""Characters of a preview (RFC 8970)."""

# Mailboxes
MAILBOX_NAME_MAX: Final = 1_000
"""Octets of a mailbox name in UTF-8."""
MAILBOX_DEPTH_MAX: Final = 32
MAILBOXES_MAX: Final = 10_000
"""Mailboxes of one account."""
SUBSCRIPTIONS_MAX: Final = 10_000
KEYWORDS_MAX: Final = 200
"""Different keywords in one mailbox (CVE-2021-33582)."""
KEYWORDS_PER_MESSAGE_MAX: Final = 50

METADATA_ENTRY_MAX: Final = 1_000
"""Octets of the name of an annotation (RFC 5464)."""
METADATA_VALUE_MAX: Final = IMAP_LITERAL_MAX
"""Octets of an annotation's value: what one literal may have."""
METADATA_ENTRIES_MAX: Final = 1_000
"""Annotations of one mailbox, or of the server, that one user sees."""
METADATA_OCTETS_MAX: Final = 1_048_576
"""Their octets, names included."""
METADATA_READ_MAX: Final = 16_777_216
"""Octets of annotations, names included, that one LIST or one look of NOTIFY reads of all mailboxes together."""

ACL_ENTRIES_MAX: Final = 1_000
"""Entries of one mailbox's access control list, which each mailbox made below it inherits: groups stand for many."""

# LMTP
LMTP_LINE_MAX: Final = 4_096
"""One command line (RFC 5321 4.5.3.1.4 asks for 512, extensions add; SMTPUTF8 addresses are longer)."""
LMTP_RECIPIENTS_MAX: Final = 1_000
LMTP_TRANSACTION_OCTETS_MAX: Final = 134_217_728

# Passwords
PASSWORD_MAX: Final = 1_024
"""Octets; longer ones are refused before any hashing."""
