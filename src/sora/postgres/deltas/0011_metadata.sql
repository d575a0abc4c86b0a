-- compat: 11
-- Annotations of mailboxes, and of accounts as a whole (RFC 5464).

CREATE TABLE annotations (
    mailbox_id  bigint REFERENCES mailboxes ON DELETE CASCADE,
    account_id  bigint REFERENCES accounts ON DELETE CASCADE,
    entry       text COLLATE "C" NOT NULL,
    value       bytea NOT NULL,
    CHECK (mailbox_id IS NOT NULL OR account_id IS NOT NULL)
);
COMMENT ON TABLE annotations IS
    'What someone noted of a mailbox (account_id NULL: for all who use it), or of nothing (mailbox_id NULL: the server); '
    'names of entries are in small letters.';
CREATE UNIQUE INDEX annotations_once ON annotations (coalesce(mailbox_id, 0), coalesce(account_id, 0), entry);
CREATE INDEX annotations_mailbox ON annotations (mailbox_id) WHERE mailbox_id IS NOT NULL;
CREATE INDEX annotations_account ON annotations (account_id) WHERE account_id IS NOT NULL;

CREATE FUNCTION annotate(
    box bigint, reader bigint, entries text[], vals bytea[], entries_max integer, octets_max bigint
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    many record;
BEGIN
    -- One after the other, so that no two come below the limits together.
    PERFORM FROM accounts WHERE id = reader FOR NO KEY UPDATE;
    IF box IS NOT NULL THEN
        PERFORM FROM mailboxes WHERE id = box FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'SO001', MESSAGE = 'the mailbox does not exist';
        END IF;
    END IF;
    DELETE FROM annotations AS a
     WHERE coalesce(a.mailbox_id, 0) = coalesce(box, 0) AND coalesce(a.account_id, 0) IN (0, reader)
       AND (a.account_id IS NULL) = starts_with(a.entry, '/shared/') AND a.entry = ANY (entries);
    INSERT INTO annotations (mailbox_id, account_id, entry, value)
    SELECT box, CASE WHEN NOT starts_with(u.entry, '/shared/') THEN reader END, u.entry, u.value
      FROM unnest(entries, vals) AS u (entry, value) WHERE u.value IS NOT NULL;
    SELECT count(*) AS n, coalesce(sum(octet_length(a.value) + octet_length(a.entry)), 0) AS octets INTO many
      FROM annotations AS a
     WHERE coalesce(a.mailbox_id, 0) = coalesce(box, 0) AND coalesce(a.account_id, 0) IN (0, reader);
    IF many.n > entries_max OR many.octets > octets_max THEN
        -- Taking something away is always allowed.
        IF EXISTS (SELECT FROM unnest(vals) AS v WHERE v IS NOT NULL) THEN
            RAISE EXCEPTION USING ERRCODE = 'SO012', MESSAGE = 'too many annotations, or too much in them';
        END IF;
    END IF;
    PERFORM announce_names(reader);
    -- RFC 7162 3.2: an annotation changes its mailbox.
    UPDATE mailboxes SET highest_modseq = highest_modseq + 1 WHERE id = box;
    IF EXISTS (SELECT FROM unnest(entries) AS e WHERE starts_with(e, '/shared/')) THEN
        PERFORM announce(ARRAY[b.id], ARRAY[b.highest_modseq]) FROM mailboxes AS b WHERE b.id = box;
    END IF;
END $$;
COMMENT ON FUNCTION annotate IS 'Set annotations all or none (NULL removes one), within limits of what one sees of a mailbox or the server.';
