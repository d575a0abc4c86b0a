-- compat: 3
-- How messages arrive, as one call. Whatever changes messages locks the mailbox's row (several in id order) before
-- it reads what it changes, gives what it changes one new modseq, and NOTIFYs in the same transaction.

CREATE FUNCTION insert_bodies(
    described jsonb, hashes bytea[], envelopes bytea[], structures bytea[], plain_structures bytea[],
    headers bytea[], datas bytea[]
) RETURNS TABLE (ordinal integer, id bigint, object_key text, stored boolean, fresh boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    made bigint[];
BEGIN
    WITH wanted AS MATERIALIZED (
        SELECT d.*, hashes[d.n] AS hash
          FROM jsonb_to_recordset(described) AS d (
               n integer, scope text, size bigint, object_key text, stored boolean, sent_at timestamptz, sent_day date,
               thread bigint, subject text, base_subject text, sort_from text, sort_to text, sort_cc text,
               display_from text, display_to text, message_id text, in_reply_to text, refs text[], preview text)
    ), body AS (
        INSERT INTO bodies AS b (scope, hash, size, object_key, stored, sent_at, sent_day, thread, envelope, structure,
                                 body, header, subject, base_subject, sort_from, sort_to, sort_cc, display_from,
                                 display_to, message_id, in_reply_to, refs, preview)
        SELECT scope, hash, size, object_key, stored, sent_at, sent_day, thread, envelopes[n], structures[n],
               plain_structures[n], headers[n], subject, base_subject, sort_from, sort_to, sort_cc, display_from,
               display_to, message_id, in_reply_to, refs, preview
          FROM wanted ORDER BY scope, hash
        ON CONFLICT (scope, hash) DO NOTHING
        RETURNING b.id, b.scope, b.hash
    ), placed AS (
        SELECT body.id, t.* FROM body
          JOIN wanted ON wanted.scope = body.scope AND wanted.hash = body.hash
          JOIN jsonb_to_recordset(described) AS t (
               n integer, size bigint, complete boolean, fields jsonb, header_text text, body_text text)
            ON t.n = wanted.n
    ), texts AS (
        INSERT INTO body_texts (body_id, complete, fields, header_text, body_text)
        SELECT placed.id, complete, fields, header_text, body_text FROM placed
    ), staged AS (
        INSERT INTO staged_bodies (body_id, size, data)
        SELECT placed.id, placed.size, datas[placed.n] FROM placed WHERE datas[placed.n] IS NOT NULL
    )
    SELECT array_agg(body.id) INTO made FROM body;

    RETURN QUERY
    SELECT d.n, b.id, b.object_key, b.stored, coalesce(b.id = ANY (made), false)
      FROM jsonb_to_recordset(described) AS d (n integer, scope text)
      JOIN bodies AS b ON b.scope = d.scope AND b.hash = hashes[d.n];
END $$;
COMMENT ON FUNCTION insert_bodies IS
    'Store bodies that are new within their scope and find those that are not, in (scope, hash) order.';

CREATE FUNCTION came_before(
    body bigint, account bigint, mailbox bigint, line bytea, seconds double precision
) RETURNS TABLE (uid bigint, modseq bigint) LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN m.mailbox_id = mailbox THEN m.uid ELSE 0 END, CASE WHEN m.mailbox_id = mailbox THEN m.modseq ELSE 0 END
      FROM messages AS m JOIN mailboxes AS b ON b.id = m.mailbox_id
     WHERE m.body_id = body AND b.account_id = account AND position('\x0d0a'::bytea || line || '\x0d0a'::bytea IN '\x0d0a'::bytea || m.trace) > 0
       AND m.internal_date > now() - make_interval(secs => seconds)
    UNION ALL
    SELECT 0, 0 FROM tombstones AS t
     WHERE t.body_id = body AND t.account_id = account AND position('\x0d0a'::bytea || line || '\x0d0a'::bytea IN '\x0d0a'::bytea || t.trace) > 0
       AND t.internal_date > now() - make_interval(secs => seconds)
    ORDER BY 1 DESC LIMIT 1
$$;
COMMENT ON FUNCTION came_before IS
    'The earlier arrival of a delivery that its sender repeats: same body, account and recipient line.';

CREATE FUNCTION insert_messages(
    described jsonb, hashes bytea[], envelopes bytea[], structures bytea[], plain_structures bytea[],
    headers bytea[], datas bytea[],
    boxes bigint[], body_ordinals integer[], traces bytea[], bits smallint[], words jsonb, dates timestamptz[],
    lines bytea[], windows double precision[], surplus text[], keywords_max integer
) RETURNS TABLE (
    ordinal integer, outcome text, uid_validity bigint, uid bigint, modseq bigint,
    body_id bigint, object_key text, stored boolean
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    bodies_id bigint[] := '{}';
    bodies_key text[] := '{}';
    bodies_stored boolean[] := '{}';
    bodies_fresh boolean[] := '{}';
    bodies_size bigint[] := '{}';
    one record;
    box mailboxes%ROWTYPE;
    before record;
    spelled text[];
    merged text[];
    announced bigint[] := '{}';
    announced_modseqs bigint[] := '{}';
    n_new integer := 0;
    n_unseen integer := 0;
    n_deleted integer := 0;
    n_size bigint := 0;
    n_deleted_size bigint := 0;
    octets bigint;
    used bigint[] := '{}';
BEGIN
    FOR one IN
        SELECT i.*, (described -> (i.ordinal - 1) ->> 'size')::bigint AS size
          FROM insert_bodies(described, hashes, envelopes, structures, plain_structures, headers, datas) AS i
    LOOP
        bodies_id[one.ordinal] := one.id;
        bodies_key[one.ordinal] := one.object_key;
        bodies_stored[one.ordinal] := one.stored;
        bodies_fresh[one.ordinal] := one.fresh;
        bodies_size[one.ordinal] := one.size;
    END LOOP;
    IF coalesce(cardinality(bodies_id), 0) < jsonb_array_length(described) OR array_position(bodies_id, NULL) IS NOT NULL
    THEN
        RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = 'a body was collected in this very moment';
    END IF;

    FOR one IN
        SELECT m.box, m.o::integer AS o, m.b, m.trace, m.flags, m.date, m.line, m.seconds,
               CASE WHEN words ? (m.o::text) THEN ARRAY(SELECT jsonb_array_elements_text(words -> (m.o::text))) END AS words
          FROM unnest(boxes, body_ordinals, traces, bits, dates, lines, windows)
               WITH ORDINALITY AS m (box, b, trace, flags, date, line, seconds, o)
         ORDER BY m.box, m.o
    LOOP
        IF box.id IS DISTINCT FROM one.box THEN
            IF n_new > 0 THEN
                UPDATE mailboxes AS u SET uid_next = box.uid_next, highest_modseq = box.highest_modseq + 1,
                       messages = u.messages + n_new, unseen = u.unseen + n_unseen, deleted = u.deleted + n_deleted,
                       recent = u.recent + n_new, size = u.size + n_size, deleted_size = u.deleted_size + n_deleted_size,
                       keywords = box.keywords
                 WHERE u.id = box.id;
                announced := announced || box.id;
                announced_modseqs := announced_modseqs || (box.highest_modseq + 1);
            END IF;
            n_new := 0; n_unseen := 0; n_deleted := 0; n_size := 0; n_deleted_size := 0;
            SELECT * INTO box FROM mailboxes WHERE id = one.box FOR NO KEY UPDATE;
            IF NOT FOUND THEN
                box := NULL;
            END IF;
        END IF;

        ordinal := one.o; uid_validity := 0; uid := 0; modseq := 0; outcome := 'inserted';
        body_id := bodies_id[one.b]; object_key := bodies_key[one.b]; stored := bodies_stored[one.b];
        IF box.id IS NULL THEN
            outcome := 'no mailbox';
            RETURN NEXT;
            CONTINUE;
        END IF;
        uid_validity := box.uid_validity;

        IF one.line IS NOT NULL AND (NOT bodies_fresh[one.b] OR bodies_id[one.b] = ANY (used)) THEN
            SELECT * INTO before FROM came_before(body_id, box.account_id, box.id, one.line, one.seconds);
            IF FOUND THEN
                outcome := 'duplicate';
                uid := before.uid;
                modseq := before.modseq;
                RETURN NEXT;
                CONTINUE;
            END IF;
        END IF;
        IF box.uid_next > 4294967295 THEN
            outcome := 'uids';
            RETURN NEXT;
            CONTINUE;
        END IF;
        spelled := NULL;
        IF one.words IS NOT NULL THEN
            merged := keywords_merged(box.keywords, one.words);
            IF cardinality(merged) > keywords_max AND cardinality(merged) > cardinality(box.keywords) THEN
                outcome := 'keywords';
                RETURN NEXT;
                CONTINUE;
            END IF;
            box.keywords := merged;
            spelled := keywords_spelled(merged, one.words);
        END IF;

        uid := box.uid_next;
        modseq := box.highest_modseq + 1;
        octets := bodies_size[one.b] + length(one.trace);
        INSERT INTO messages (mailbox_id, uid, body_id, modseq, email_id, thread_id, internal_date, size, flags,
                              keywords, trace)
        VALUES (box.id, box.uid_next, bodies_id[one.b], box.highest_modseq + 1, nextval('email_ids'),
                (described -> (one.b - 1) ->> 'thread')::bigint, coalesce(one.date, now()), octets, one.flags,
                spelled, one.trace);
        used := used || bodies_id[one.b];
        box.uid_next := box.uid_next + 1;
        n_new := n_new + 1;
        n_size := n_size + octets;
        n_unseen := n_unseen + (one.flags & 1 = 0)::integer;
        IF one.flags & 8 <> 0 THEN
            n_deleted := n_deleted + 1;
            n_deleted_size := n_deleted_size + octets;
        END IF;
        RETURN NEXT;
    END LOOP;
    IF n_new > 0 THEN
        UPDATE mailboxes AS u SET uid_next = box.uid_next, highest_modseq = box.highest_modseq + 1,
               messages = u.messages + n_new, unseen = u.unseen + n_unseen, deleted = u.deleted + n_deleted,
               recent = u.recent + n_new, size = u.size + n_size, deleted_size = u.deleted_size + n_deleted_size,
               keywords = box.keywords
         WHERE u.id = box.id;
        announced := announced || box.id;
        announced_modseqs := announced_modseqs || (box.highest_modseq + 1);
    END IF;

    -- A body that is used again is no longer condemned; one that nobody uses is from the start.
    UPDATE bodies AS b SET condemned_at = NULL WHERE b.id = ANY (used) AND b.condemned_at IS NOT NULL;
    UPDATE bodies AS b SET condemned_at = now()
      FROM unnest(bodies_id, bodies_fresh) AS u (id, fresh)
     WHERE b.id = u.id AND u.fresh AND b.id <> ALL (used);
    -- An object put for a body that was there already, under another key, belongs to nobody.
    INSERT INTO discarded_objects (object_key)
    SELECT d.object_key FROM jsonb_to_recordset(described) AS d (n integer, object_key text, stored boolean)
     WHERE d.stored AND NOT bodies_fresh[d.n] AND d.object_key <> bodies_key[d.n]
     UNION SELECT unnest(surplus)
    ON CONFLICT DO NOTHING;
    PERFORM announce(announced, announced_modseqs);
END $$;
COMMENT ON FUNCTION insert_messages IS
    'Insert many messages with their bodies; a member that cannot be stored says why and harms no other.';
