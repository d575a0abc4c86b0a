-- compat: 2
-- What changes messages, as one call each. All of them lock the mailbox's row (several in id order) before
-- they read what they change, give what they change one new modseq, and NOTIFY in the same transaction.
-- Errors of their own are SQLSTATEs SO001 and up; the table is in postgres/failures.py.

-- Columns as bytes: UIDs as 4 octets, flags as 2, modseqs as 8, all in network order.
CREATE FUNCTION uid_octets(uid bigint) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT int4send(uid::bit(32)::integer) $$;

CREATE FUNCTION announce(mailboxes bigint[], modseqs bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    -- A payload holds 8000 octets, an entry is 40 at most.
    step constant integer := 190;
BEGIN
    FOR begins IN 1 .. coalesce(cardinality(mailboxes), 0) BY step LOOP
        PERFORM pg_notify('sora', (
            SELECT string_agg(m || ':' || q, ',')
              FROM unnest(mailboxes[begins : begins + step - 1], modseqs[begins : begins + step - 1]) AS u (m, q)));
    END LOOP;
END $$;
COMMENT ON FUNCTION announce IS 'Tell all processes, once committed, that mailboxes changed; modseq 0: it is gone.';

-- Keywords are ASCII and compared without case; the mailbox's first spelling is everyone's.
CREATE FUNCTION keywords_spelled(known text[], words text[]) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT array_agg(coalesce((SELECT k FROM unnest(known) AS k WHERE lower(k) = lower(w) LIMIT 1), w) ORDER BY o)
      FROM (SELECT DISTINCT ON (lower(word)) word, ordinal FROM unnest(words) WITH ORDINALITY AS u (word, ordinal)
             ORDER BY lower(word), ordinal) AS one (w, o)
$$;
COMMENT ON FUNCTION keywords_spelled IS 'The words once each, in the known spelling if there is one; NULL for none.';

CREATE FUNCTION keywords_merged(known text[], words text[]) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT known || coalesce(array_agg(w ORDER BY o), '{}')
      FROM unnest(keywords_spelled(known, words)) WITH ORDINALITY AS u (w, o)
     WHERE w <> ALL (known)
$$;

CREATE FUNCTION keywords_changed(had text[], change text, words text[]) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE change
        WHEN 'add' THEN nullif(coalesce(had, '{}') || ARRAY(
            SELECT w FROM unnest(words) WITH ORDINALITY AS u (w, o) WHERE w <> ALL (coalesce(had, '{}')) ORDER BY o), '{}')
        WHEN 'remove' THEN nullif(ARRAY(
            SELECT h FROM unnest(had) WITH ORDINALITY AS u (h, o) WHERE h <> ALL (coalesce(words, '{}')) ORDER BY o), '{}')
        ELSE CASE WHEN had @> words AND had <@ words THEN had ELSE words END
    END
$$;
COMMENT ON FUNCTION keywords_changed IS
    'What a STORE of words (in the mailbox''s spelling) makes of a message''s keywords; NULL for none.';

CREATE FUNCTION flags_changed(had smallint, change text, bits integer) RETURNS smallint LANGUAGE sql IMMUTABLE AS $$
    SELECT (CASE change WHEN 'add' THEN had | bits WHEN 'remove' THEN had & ~bits ELSE bits END)::smallint
$$;

-- ------------------------------------------------------------------ insertion

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

-- ------------------------------------------------------------------ flags

CREATE FUNCTION store_flags(
    box_id bigint, uids bigint[], counts integer[], changes text[], bits integer[], words text[], unchanged bigint[],
    keywords_max integer, message_keywords_max integer
) RETURNS TABLE (highest_modseq bigint, uids_octets bytea, flags_octets bytea, modseqs_octets bytea, keywords json,
                 refused bytea, changed boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    box mailboxes%ROWTYPE;
    fresh bigint;
    named bigint[];
    kept bigint[];
    wanted text[];
    merged text[];
    begins integer := 1;
    delta record;
BEGIN
    SELECT * INTO box FROM mailboxes WHERE id = box_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'SO001', MESSAGE = 'the mailbox was deleted';
    END IF;
    fresh := box.highest_modseq + 1;
    changed := false;
    FOR i IN 1 .. cardinality(counts) LOOP
        named := uids[begins : begins + counts[i] - 1];
        begins := begins + counts[i];
        kept := named;
        refused := '';
        IF unchanged[i] IS NOT NULL THEN
            SELECT coalesce(array_agg(m.uid ORDER BY m.uid) FILTER (WHERE m.modseq <= unchanged[i]), '{}'),
                   coalesce(string_agg(uid_octets(m.uid), '' ORDER BY m.uid) FILTER (WHERE m.modseq > unchanged[i]), '')
              INTO kept, refused
              FROM (SELECT DISTINCT u FROM unnest(named) AS u) AS k
             CROSS JOIN LATERAL (SELECT uid, modseq FROM messages
                                  WHERE mailbox_id = box_id AND uid = k.u OFFSET 0) AS m;
        END IF;
        wanted := nullif(string_to_array(words[i], ' '), '{}');
        IF wanted IS NOT NULL THEN
            IF changes[i] <> 'remove' AND kept <> '{}' THEN
                merged := keywords_merged(box.keywords, wanted);
                IF cardinality(merged) > keywords_max AND cardinality(merged) > cardinality(box.keywords) THEN
                    RAISE EXCEPTION USING ERRCODE = 'SO006', MESSAGE = 'too many different keywords in one mailbox';
                END IF;
                box.keywords := merged;
            END IF;
            wanted := keywords_spelled(box.keywords, wanted);
        END IF;
        -- Each message is looked up by its key: OFFSET 0 keeps the planner from joining. It knows nothing of a
        -- mailbox that was filled since the last ANALYZE, believes it empty, and would compare all with all.
        SELECT count(*) FILTER (WHERE differs) AS n, array_agg(place) FILTER (WHERE differs) AS places,
               max(cardinality(worded)) FILTER (WHERE differs) AS words,
               coalesce(sum((now & 1 = 0)::integer - (was & 1 = 0)::integer), 0) AS unseen,
               coalesce(sum((now & 8 <> 0)::integer - (was & 8 <> 0)::integer), 0) AS deleted,
               coalesce(sum(((now & 8 <> 0)::integer - (was & 8 <> 0)::integer) * size), 0) AS deleted_size,
               coalesce(string_agg(uid_octets(uid), ''), '') AS uids,
               coalesce(string_agg(int2send(now), ''), '') AS flags,
               coalesce(string_agg(int8send(CASE WHEN differs THEN fresh ELSE modseq END), ''), '') AS modseqs,
               json_object_agg(uid, worded) FILTER (WHERE worded IS NOT NULL) AS keywords
          INTO delta
          FROM (SELECT m.place, m.uid, m.size, m.modseq, m.was, m.now, m.worded,
                       m.was <> m.now OR m.keywords IS DISTINCT FROM m.worded AS differs
                  FROM (SELECT DISTINCT u FROM unnest(kept) AS u) AS k
                 CROSS JOIN LATERAL (
                       SELECT ctid AS place, uid, size, modseq, flags AS was,
                              flags_changed(flags, changes[i], bits[i]) AS now, keywords,
                              CASE WHEN wanted IS NULL AND changes[i] <> 'replace' THEN keywords
                                   ELSE keywords_changed(keywords, changes[i], wanted) END AS worded
                         FROM messages WHERE mailbox_id = box_id AND uid = k.u OFFSET 0) AS m
                 ORDER BY m.uid) AS c;
        IF delta.words > message_keywords_max THEN
            RAISE EXCEPTION USING ERRCODE = 'SO006', MESSAGE = 'too many keywords on one message';
        END IF;
        IF delta.n > 0 THEN
            changed := true;
            -- By their places, which cannot change while we hold the mailbox's row.
            UPDATE messages AS m
               SET flags = flags_changed(m.flags, changes[i], bits[i]), modseq = fresh,
                   keywords = CASE WHEN wanted IS NULL AND changes[i] <> 'replace' THEN m.keywords
                                   ELSE keywords_changed(m.keywords, changes[i], wanted) END
             WHERE m.ctid = ANY (delta.places);
        END IF;
        box.unseen := box.unseen + delta.unseen;
        box.deleted := box.deleted + delta.deleted;
        box.deleted_size := box.deleted_size + delta.deleted_size;
        uids_octets := delta.uids;
        flags_octets := delta.flags;
        modseqs_octets := delta.modseqs;
        keywords := delta.keywords;
        highest_modseq := CASE WHEN changed THEN fresh ELSE box.highest_modseq END;
        RETURN NEXT;
    END LOOP;
    IF changed THEN
        UPDATE mailboxes SET highest_modseq = fresh, changed_modseq = fresh, unseen = box.unseen, deleted = box.deleted,
               deleted_size = box.deleted_size, keywords = box.keywords
         WHERE id = box_id;
        PERFORM announce(ARRAY[box_id], ARRAY[fresh]);
    END IF;
END $$;
COMMENT ON FUNCTION store_flags IS
    'Apply STOREs to a mailbox in their order; uids holds those of all changes, counts how many belong to each.';

-- ------------------------------------------------------------------ leaving

CREATE FUNCTION bury(
    box_id bigint, owner bigint, gone bigint[], fresh bigint, how text,
    who_account bigint, who_address text, protocol text, session text,
    OUT n integer, OUT unseen integer, OUT deleted integer, OUT recent integer, OUT size bigint, OUT deleted_size bigint,
    OUT uids_octets bytea
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    WITH box AS (
        SELECT recent_from FROM mailboxes WHERE id = box_id
    ), dead AS (
        DELETE FROM messages AS m WHERE m.mailbox_id = box_id AND (gone IS NULL OR m.uid = ANY (gone)) RETURNING m.*
    ), stones AS (
        INSERT INTO tombstones (mailbox_id, uid, modseq, account_id, body_id, email_id, thread_id, internal_date,
                                save_date, size, flags, keywords, trace, how, who_account, who_address, protocol, session)
        SELECT mailbox_id, uid, fresh, owner, body_id, email_id, thread_id, internal_date, save_date, size, flags,
               keywords, trace, bury.how, bury.who_account, bury.who_address, bury.protocol, bury.session
          FROM dead
    )
    SELECT count(*), coalesce(sum((d.flags & 1 = 0)::integer), 0), coalesce(sum((d.flags & 8 <> 0)::integer), 0),
           coalesce(sum((d.uid >= box.recent_from)::integer), 0), coalesce(sum(d.size), 0),
           coalesce(sum(d.size) FILTER (WHERE d.flags & 8 <> 0), 0),
           coalesce(string_agg(uid_octets(d.uid), '' ORDER BY d.uid), '')
      INTO n, unseen, deleted, recent, size, deleted_size, uids_octets
      FROM dead AS d CROSS JOIN box;
END $$;
COMMENT ON FUNCTION bury IS
    'Turn messages (gone NULL: all) into tombstones and say what the mailbox loses. The caller holds its row.';

CREATE FUNCTION expunge_messages(
    box_id bigint, uids bigint[], who_account bigint, who_address text, protocol text, session text
) RETURNS TABLE (highest_modseq bigint, uids_octets bytea) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    box mailboxes%ROWTYPE;
    lost record;
    gone bigint[];
BEGIN
    SELECT * INTO box FROM mailboxes WHERE id = box_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'SO001', MESSAGE = 'the mailbox was deleted';
    END IF;
    highest_modseq := box.highest_modseq;
    uids_octets := '';
    -- The counter saves looking through a mailbox where nothing is \Deleted.
    IF box.deleted > 0 THEN
        SELECT array_agg(m.uid) INTO gone FROM messages AS m
         WHERE m.mailbox_id = box_id AND m.flags & 8 <> 0
           AND (expunge_messages.uids IS NULL OR m.uid = ANY (expunge_messages.uids));
    END IF;
    IF gone IS NOT NULL THEN
        highest_modseq := box.highest_modseq + 1;
        SELECT * INTO lost FROM bury(box_id, box.account_id, gone, box.highest_modseq + 1, 'expunge',
                                     who_account, who_address, protocol, session);
        uids_octets := lost.uids_octets;
        UPDATE mailboxes AS u SET highest_modseq = box.highest_modseq + 1, messages = u.messages - lost.n,
               unseen = u.unseen - lost.unseen, deleted = u.deleted - lost.deleted, recent = u.recent - lost.recent,
               size = u.size - lost.size, deleted_size = u.deleted_size - lost.deleted_size
         WHERE u.id = box_id;
        PERFORM announce(ARRAY[box_id], ARRAY[box.highest_modseq + 1]);
    END IF;
    RETURN NEXT;
END $$;
COMMENT ON FUNCTION expunge_messages IS 'Turn messages that are \Deleted (of those named, or all) into tombstones.';

-- ------------------------------------------------------------------ copying and moving

CREATE FUNCTION transfer_messages(
    source_id bigint, uids bigint[], target_id bigint, target_account bigint, target_name text, moving boolean,
    keywords_max integer, who_account bigint, who_address text, protocol text, session text
) RETURNS TABLE (uid_validity bigint, source_octets bytea, first_uid bigint, target_box bigint, left_modseq bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    source mailboxes%ROWTYPE;
    target mailboxes%ROWTYPE;
    total record;
    lost record;
    merged text[];
    gone bigint[];
    fresh bigint;
BEGIN
    IF target_id IS NULL THEN
        SELECT id INTO target_id FROM mailboxes WHERE account_id = target_account AND name = target_name;
    END IF;
    PERFORM 1 FROM mailboxes WHERE id IN (source_id, target_id) ORDER BY id FOR NO KEY UPDATE;
    SELECT * INTO source FROM mailboxes WHERE id = source_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'SO001', MESSAGE = 'the mailbox was deleted';
    END IF;
    SELECT * INTO target FROM mailboxes WHERE id = target_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'SO001', MESSAGE = 'the target mailbox does not exist';
    END IF;
    SELECT count(*) AS n, array_agg(uid ORDER BY uid) AS uids,
           coalesce(string_agg(uid_octets(uid), '' ORDER BY uid), '') AS octets,
           coalesce(sum((flags & 1 = 0)::integer), 0) AS unseen, coalesce(sum((flags & 8 <> 0)::integer), 0) AS deleted,
           coalesce(sum(size), 0) AS size, coalesce(sum(size) FILTER (WHERE flags & 8 <> 0), 0) AS deleted_size,
           bool_or(keywords IS NOT NULL) AS worded
      INTO total FROM messages
     WHERE mailbox_id = source_id AND (transfer_messages.uids IS NULL OR uid = ANY (transfer_messages.uids));
    uid_validity := target.uid_validity;
    source_octets := total.octets;
    first_uid := target.uid_next;
    target_box := target_id;
    IF total.n = 0 THEN
        RETURN NEXT;
        RETURN;
    END IF;
    gone := total.uids;
    IF target.uid_next + total.n - 1 > 4294967295 THEN
        RAISE EXCEPTION USING ERRCODE = 'SO005', MESSAGE = 'the target mailbox has no UIDs left';
    END IF;
    merged := target.keywords;
    IF total.worded AND source_id <> target_id THEN
        merged := keywords_merged(target.keywords, ARRAY(
            SELECT k FROM messages AS m, unnest(m.keywords) AS k
             WHERE m.mailbox_id = source_id AND m.uid = ANY (gone) GROUP BY k ORDER BY min(m.uid), k));
        IF cardinality(merged) > keywords_max AND cardinality(merged) > cardinality(target.keywords) THEN
            RAISE EXCEPTION USING ERRCODE = 'SO006', MESSAGE = 'too many different keywords in one mailbox';
        END IF;
    END IF;
    fresh := target.highest_modseq + 1;

    INSERT INTO messages (mailbox_id, uid, body_id, modseq, email_id, thread_id, internal_date, size, flags, keywords,
                          trace)
    SELECT target_id, target.uid_next + row_number() OVER (ORDER BY uid) - 1, body_id, fresh, email_id, thread_id,
           internal_date, size, flags,
           CASE WHEN keywords IS NOT NULL THEN keywords_spelled(merged, keywords) END, trace
      FROM messages WHERE mailbox_id = source_id AND uid = ANY (gone) ORDER BY uid;
    UPDATE mailboxes AS u SET uid_next = u.uid_next + total.n, highest_modseq = fresh, messages = u.messages + total.n,
           unseen = u.unseen + total.unseen, deleted = u.deleted + total.deleted, recent = u.recent + total.n,
           size = u.size + total.size, deleted_size = u.deleted_size + total.deleted_size, keywords = merged
     WHERE u.id = target_id;

    IF NOT moving THEN
        PERFORM announce(ARRAY[target_id], ARRAY[fresh]);
    ELSE
        IF source_id <> target_id THEN
            PERFORM announce(ARRAY[target_id, source_id], ARRAY[fresh, source.highest_modseq + 1]);
            fresh := source.highest_modseq + 1;
        ELSE
            PERFORM announce(ARRAY[target_id], ARRAY[fresh]);
        END IF;
        left_modseq := fresh;
        SELECT * INTO lost FROM bury(source_id, source.account_id, gone, fresh, 'move', who_account, who_address,
                                     protocol, session);
        UPDATE mailboxes AS u SET highest_modseq = fresh, messages = u.messages - lost.n,
               unseen = u.unseen - lost.unseen, deleted = u.deleted - lost.deleted, recent = u.recent - lost.recent,
               size = u.size - lost.size, deleted_size = u.deleted_size - lost.deleted_size
         WHERE u.id = source_id;
    END IF;
    RETURN NEXT;
END $$;
COMMENT ON FUNCTION transfer_messages IS
    'Copy or move messages (uids NULL: all), all or none; the new UIDs are consecutive, in the order of the old.';

-- ------------------------------------------------------------------ what changed

CREATE FUNCTION arrivals_from(box_id bigint, since bigint, last_change bigint) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    page record;
    upper bigint := 4294967296;
    step integer := 16;
    begins bigint := 4294967296;
BEGIN
    IF last_change > since THEN
        RETURN 0;
    END IF;
    -- Nothing but arrivals: they are at the end, in the order of their modseqs. Read backwards in growing pages;
    -- the LIMIT keeps the planner from sorting the whole mailbox for the sake of its last few rows.
    LOOP
        SELECT count(*) AS n, count(*) FILTER (WHERE modseq > since) AS new, min(uid) AS lowest,
               min(uid) FILTER (WHERE modseq > since) AS begins
          INTO page
          FROM (SELECT uid, modseq FROM messages WHERE mailbox_id = box_id AND uid < upper
                 ORDER BY uid DESC LIMIT step) AS m;
        begins := least(begins, page.begins);
        EXIT WHEN page.n < step OR page.new < page.n;
        upper := page.lowest;
        step := least(step * 4, 16384);
    END LOOP;
    RETURN begins;
END $$;
COMMENT ON FUNCTION arrivals_from IS 'The UID from which messages with a modseq above `since` are; 0: anywhere.';

-- ------------------------------------------------------------------ mailboxes

CREATE FUNCTION lock_mailboxes_of(account bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM accounts WHERE id = account FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'SO008', MESSAGE = 'the account does not exist';
    END IF;
END $$;
COMMENT ON FUNCTION lock_mailboxes_of IS 'Let only one transaction at a time change the names of an account''s mailboxes.';

CREATE FUNCTION parents_of(name text) RETURNS SETOF text LANGUAGE sql IMMUTABLE AS $$
    SELECT array_to_string(parts[1 : n], '/') FROM string_to_array(name, '/') AS parts,
           generate_series(1, cardinality(parts) - 1) AS n
$$;

CREATE FUNCTION create_mailbox(
    account bigint, new_name text, use text, subscribed boolean, mailboxes_max integer
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    made bigint;
BEGIN
    PERFORM lock_mailboxes_of(account);
    IF EXISTS (SELECT FROM mailboxes WHERE account_id = account AND name = new_name) THEN
        RAISE EXCEPTION USING ERRCODE = 'SO002', MESSAGE = 'the mailbox exists';
    END IF;
    INSERT INTO mailboxes (account_id, name) SELECT account, p FROM parents_of(new_name) AS p
        ON CONFLICT (account_id, name) DO NOTHING;
    INSERT INTO mailboxes (account_id, name, special_use) VALUES (account, new_name, use) RETURNING id INTO made;
    IF (SELECT count(*) FROM mailboxes WHERE account_id = account) > mailboxes_max THEN
        RAISE EXCEPTION USING ERRCODE = 'SO006', MESSAGE = 'too many mailboxes';
    END IF;
    IF subscribed THEN
        INSERT INTO subscriptions (account_id, name) VALUES (account, new_name) ON CONFLICT DO NOTHING;
    END IF;
    RETURN made;
END $$;

CREATE FUNCTION delete_mailbox(
    account bigint, old_name text, who_account bigint, who_address text, protocol text, session text
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    box mailboxes%ROWTYPE;
BEGIN
    PERFORM lock_mailboxes_of(account);
    SELECT * INTO box FROM mailboxes WHERE account_id = account AND name = old_name FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'SO001', MESSAGE = 'the mailbox does not exist';
    END IF;
    IF EXISTS (SELECT FROM mailboxes
                WHERE account_id = account AND name > old_name || '/' AND name < old_name || '0') THEN
        RAISE EXCEPTION USING ERRCODE = 'SO003', MESSAGE = 'the mailbox has others below it';
    END IF;
    PERFORM bury(box.id, account, NULL, box.highest_modseq + 1, 'delete', who_account, who_address, protocol, session);
    INSERT INTO former_mailboxes (id, account_id, name, uid_validity, who_account, who_address, protocol, session)
    VALUES (box.id, account, box.name, box.uid_validity, delete_mailbox.who_account, delete_mailbox.who_address,
            delete_mailbox.protocol, delete_mailbox.session);
    DELETE FROM mailboxes WHERE id = box.id;
    PERFORM announce(ARRAY[box.id], ARRAY[0::bigint]);
    RETURN box.id;
END $$;

CREATE FUNCTION rename_mailbox(
    account bigint, old_name text, new_name text, mailboxes_max integer, octets_max integer
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lock_mailboxes_of(account);
    IF NOT EXISTS (SELECT FROM mailboxes WHERE account_id = account AND name = old_name) THEN
        RAISE EXCEPTION USING ERRCODE = 'SO001', MESSAGE = 'the mailbox does not exist';
    END IF;
    IF EXISTS (SELECT FROM mailboxes WHERE account_id = account AND name = new_name) THEN
        RAISE EXCEPTION USING ERRCODE = 'SO002', MESSAGE = 'the mailbox exists';
    END IF;
    IF starts_with(new_name, old_name || '/') THEN
        RAISE EXCEPTION USING ERRCODE = 'SO004', MESSAGE = 'a mailbox cannot be moved below itself';
    END IF;
    UPDATE mailboxes SET name = new_name || substr(name, length(old_name) + 1)
     WHERE account_id = account AND (name = old_name OR (name > old_name || '/' AND name < old_name || '0'));
    INSERT INTO mailboxes (account_id, name) SELECT account, p FROM parents_of(new_name) AS p
        ON CONFLICT (account_id, name) DO NOTHING;
    IF EXISTS (SELECT FROM mailboxes WHERE account_id = account AND octet_length(name) > octets_max) THEN
        RAISE EXCEPTION USING ERRCODE = 'SO004', MESSAGE = 'a name below the mailbox would become too long';
    END IF;
    IF (SELECT count(*) FROM mailboxes WHERE account_id = account) > mailboxes_max THEN
        RAISE EXCEPTION USING ERRCODE = 'SO006', MESSAGE = 'too many mailboxes';
    END IF;
END $$;

CREATE FUNCTION rename_inbox(
    account bigint, new_name text, mailboxes_max integer, keywords_max integer,
    who_account bigint, who_address text, protocol text, session text
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    target bigint := create_mailbox(account, new_name, NULL, false, mailboxes_max);
    inbox bigint;
BEGIN
    SELECT id INTO inbox FROM mailboxes WHERE account_id = account AND name = 'INBOX';
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'SO001', MESSAGE = 'the mailbox does not exist';
    END IF;
    PERFORM transfer_messages(inbox, NULL, target, NULL, NULL, true, keywords_max, who_account, who_address, protocol,
                              session);
END $$;

-- ------------------------------------------------------------------ collection

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
            DELETE FROM accounts WHERE id = account;
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

-- ------------------------------------------------------------------ search

-- The trace is our own writing: ASCII, but for what a peer called itself. LATIN1 reads any octets.
CREATE FUNCTION trace_text(trace bytea) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT lower(convert_from(trace, 'LATIN1')) $$;

CREATE FUNCTION trace_field(trace bytea, field text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT string_agg(btrim(substr(line, length(field) + 2)), chr(10))
      FROM regexp_split_to_table(regexp_replace(trace_text(trace), '\r\n([ \t])', '\1', 'g'), '\r\n') AS line
     WHERE starts_with(line, field || ':')
$$;
COMMENT ON FUNCTION trace_field IS 'The values of a field of the trace header, unfolded, in small letters; NULL if absent.';
