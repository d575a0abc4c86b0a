-- compat: 14
-- Indexes of the texts of mailboxes that are searched by BODY or TEXT. A job makes them; arrivals do not know of them.

CREATE TABLE text_indexes (
    mailbox_id    bigint PRIMARY KEY REFERENCES mailboxes ON DELETE CASCADE,
    upto          bigint NOT NULL DEFAULT 0,
    messages      bigint NOT NULL DEFAULT 0,
    used_at       timestamptz NOT NULL DEFAULT now(),
    leased_until  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE text_indexes IS
    'A mailbox whose texts are to be indexed, and how far they are: what is above `upto` is searched without.';
COMMENT ON COLUMN text_indexes.messages IS 'Messages of all segments, those that are gone since included.';
COMMENT ON COLUMN text_indexes.used_at IS 'When a search last asked, to the day.';

CREATE TABLE text_segments (
    mailbox_id  bigint NOT NULL REFERENCES text_indexes ON DELETE CASCADE,
    upto        bigint NOT NULL,
    uids        bytea NOT NULL,
    bits        bytea NOT NULL,
    PRIMARY KEY (mailbox_id, upto)
);
COMMENT ON TABLE text_segments IS
    'Signatures of the texts of some messages of a mailbox (core/signatures): a row of bits for each of 2^n places, in it '
    'a bit for each message. Never changed, and right for as long as a UID means the same message.';
COMMENT ON COLUMN text_segments.uids IS 'Four octets each, ascending; `upto` is the last.';
-- A few octets are read of each: neither column is compressed, and the bits lie apart.
ALTER TABLE text_segments ALTER COLUMN uids SET STORAGE EXTERNAL, ALTER COLUMN bits SET STORAGE EXTERNAL;
