-- compat: 7
-- What the uploader and the collector do.

CREATE FUNCTION record_uploads(done bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    -- It need not survive a crash: the bytes would be staged still, and put once more under the same key.
    PERFORM set_config('synchronous_commit', 'off', true);
    UPDATE bodies SET stored = true WHERE id = ANY (done) AND NOT stored;
    DELETE FROM staged_bodies WHERE body_id = ANY (done);
END $$;
COMMENT ON FUNCTION record_uploads IS 'Record that the object store verifiably has these bodies, and drop the staged bytes.';

CREATE FUNCTION claim_uploads(done bigint[], step integer, octets bigint, lease double precision)
RETURNS TABLE (id bigint, hash bytea, size bigint, object_key text, stored boolean, data bytea, attempts integer)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    IF cardinality(done) > 0 THEN
        PERFORM record_uploads(done);
    END IF;
    RETURN QUERY
    WITH due AS (
        SELECT s.body_id, s.size FROM staged_bodies AS s
         WHERE s.due_at <= now() AND (s.leased_until IS NULL OR s.leased_until <= now())
         ORDER BY s.body_id LIMIT step FOR UPDATE SKIP LOCKED
    ), fitting AS (
        SELECT f.body_id
          FROM (SELECT due.body_id, sum(due.size) OVER (ORDER BY due.body_id) - due.size AS before FROM due) AS f
         WHERE f.before < octets
    ), claimed AS (
        -- No index names what is changed, so that the new version stays on its page and the indexes as they are.
        UPDATE staged_bodies AS s SET leased_until = now() + make_interval(secs => lease)
          FROM fitting WHERE s.body_id = fitting.body_id
        RETURNING s.body_id, s.data, s.attempts
    )
    SELECT b.id, b.hash, b.size, b.object_key, b.stored, c.data, c.attempts
      FROM claimed AS c JOIN bodies AS b ON b.id = c.body_id ORDER BY b.id;
END $$;
COMMENT ON FUNCTION claim_uploads IS
    'Record what was uploaded, then claim staged bodies that are due, the oldest first, at most so many of so many octets (one at least), and bring their bytes; no two claimants get the same one.';

CREATE FUNCTION collect_step(grace double precision, generation double precision, step integer)
RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    candidates bigint[];
    doomed bigint[];
    account bigint;
    freed bigint;
BEGIN
    -- 1. Accounts deleted long enough ago lose their mailboxes, one account a step.
    SELECT id INTO account FROM accounts
     WHERE deleted_at < now() - make_interval(secs => grace) ORDER BY deleted_at LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF FOUND THEN
        PERFORM 1 FROM mailboxes WHERE account_id = account ORDER BY id FOR UPDATE;
        WITH chunk AS (
            SELECT m.mailbox_id, m.uid FROM messages AS m JOIN mailboxes AS b ON b.id = m.mailbox_id
             WHERE b.account_id = account LIMIT step
        ), dead AS (
            DELETE FROM messages AS m USING chunk WHERE m.mailbox_id = chunk.mailbox_id AND m.uid = chunk.uid
            RETURNING m.body_id, m.mailbox_id, m.size, m.flags, m.uid
        ), lost AS (
            UPDATE mailboxes AS b SET messages = b.messages - d.n, unseen = b.unseen - d.unseen,
                   deleted = b.deleted - d.deleted, size = b.size - d.size, deleted_size = b.deleted_size - d.deleted_size,
                   recent = b.recent - d.recent
              FROM (SELECT dead.mailbox_id, count(*) AS n, sum((dead.flags & 1 = 0)::integer) AS unseen,
                           sum((dead.flags & 8 <> 0)::integer) AS deleted, sum(dead.size) AS size,
                           coalesce(sum(dead.size) FILTER (WHERE dead.flags & 8 <> 0), 0) AS deleted_size,
                           sum((dead.uid >= o.recent_from)::integer) AS recent
                      FROM dead JOIN mailboxes AS o ON o.id = dead.mailbox_id GROUP BY dead.mailbox_id) AS d
             WHERE b.id = d.mailbox_id
        )
        SELECT array_agg(DISTINCT body_id), count(*) INTO candidates, freed FROM dead;
        IF freed = 0 THEN
            DELETE FROM private_seen WHERE ctid = ANY (ARRAY(
                SELECT p.ctid FROM private_readers AS r
                  JOIN private_seen AS p ON p.mailbox_id = r.mailbox_id AND p.account_id = r.account_id
                 WHERE r.account_id = account
                    OR r.mailbox_id IN (SELECT b.id FROM mailboxes AS b WHERE b.account_id = account) LIMIT step));
            IF NOT FOUND THEN
                DELETE FROM accounts WHERE id = account;
            END IF;
        END IF;
    END IF;

    -- 2. Tombstones whose grace is over go; the mailbox remembers how far back it can still tell.
    WITH old AS (
        SELECT mailbox_id, modseq, uid FROM tombstones
         WHERE expunged_at < now() - make_interval(secs => grace)
         ORDER BY expunged_at LIMIT step FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM tombstones AS t USING old
         WHERE t.mailbox_id = old.mailbox_id AND t.modseq = old.modseq AND t.uid = old.uid
        RETURNING t.mailbox_id, t.modseq, t.body_id
    ), forgotten AS (
        UPDATE mailboxes AS b SET forgotten_modseq = greatest(b.forgotten_modseq, f.modseq)
          FROM (SELECT mailbox_id, max(modseq) AS modseq FROM gone GROUP BY mailbox_id ORDER BY mailbox_id) AS f
         WHERE b.id = f.mailbox_id
    )
    SELECT coalesce(candidates, '{}') || coalesce(array_agg(DISTINCT body_id), '{}') INTO candidates FROM gone;
    DELETE FROM former_mailboxes AS f
     WHERE f.deleted_at < now() - make_interval(secs => grace)
       AND NOT EXISTS (SELECT FROM tombstones AS t WHERE t.mailbox_id = f.id);

    -- 3. What nobody refers to now is condemned.
    UPDATE bodies AS b SET condemned_at = now()
     WHERE b.id = ANY (candidates) AND b.condemned_at IS NULL
       AND NOT EXISTS (SELECT FROM messages AS m WHERE m.body_id = b.id)
       AND NOT EXISTS (SELECT FROM tombstones AS t WHERE t.body_id = b.id);

    -- 4. What was condemned a generation ago is locked, so that nobody can begin to refer to it (a reference takes
    -- a key lock on the body), looked at again with what is committed by now, and removed or acquitted.
    SELECT array_agg(id) INTO doomed FROM (
        SELECT b.id FROM bodies AS b
         WHERE b.condemned_at < now() - make_interval(secs => generation)
           AND NOT EXISTS (SELECT FROM staged_bodies AS s WHERE s.body_id = b.id AND s.leased_until > now())
         ORDER BY b.condemned_at LIMIT step FOR UPDATE SKIP LOCKED) AS chunk;
    IF doomed IS NOT NULL THEN
        UPDATE bodies AS b SET condemned_at = NULL
         WHERE b.id = ANY (doomed)
           AND (EXISTS (SELECT FROM messages AS m WHERE m.body_id = b.id)
                OR EXISTS (SELECT FROM tombstones AS t WHERE t.body_id = b.id));
        WITH gone AS (
            DELETE FROM bodies AS b WHERE b.id = ANY (doomed) AND b.condemned_at IS NOT NULL RETURNING b.object_key
        )
        INSERT INTO discarded_objects (object_key) SELECT object_key FROM gone ON CONFLICT DO NOTHING;
    END IF;

    RETURN QUERY SELECT d.object_key FROM discarded_objects AS d ORDER BY d.since LIMIT step;
END $$;
COMMENT ON FUNCTION collect_step IS 'One bounded step of collection; returns object keys that may be deleted now.';
