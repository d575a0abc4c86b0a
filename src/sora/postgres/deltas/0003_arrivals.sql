-- compat: 3
-- How messages arrive, as one call. Whatever changes messages locks the mailbox's row (several in id order) before
-- it reads what it changes, gives what it changes one new modseq, and NOTIFYs in the same transaction.

-- Arrays have an element for each body, in the order of (scope, hash), so that no two callers wait for each other in
-- turn. What has many octets is read by subscript: unnest would copy it.
CREATE FUNCTION insert_bodies(
    scopes text[], hashes bytea[], sizes bigint[], keys text[], datas bytea[], sent_ats timestamptz[],
    sent_days date[], threads bigint[], envelopes bytea[], structures bytea[], plain_structures bytea[],
    headers bytea[], subjects text[], base_subjects text[], sorts_from text[], sorts_to text[], sorts_cc text[],
    displays_from text[], displays_to text[], message_ids text[], answers text[], references_of text[],
    previews text[], completes boolean[], fields_of text[], header_texts text[], texts text[],
    OUT ids bigint[], OUT made bigint[]
) LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    one record;
BEGIN
    ids := ARRAY(SELECT nextval('bodies_id_seq') FROM generate_series(1, cardinality(hashes)));
    WITH body AS (
        INSERT INTO bodies AS b (id, scope, hash, size, object_key, stored, sent_at, sent_day, thread, envelope,
                                 structure, body, header, subject, base_subject, sort_from, sort_to, sort_cc,
                                 display_from, display_to, message_id, in_reply_to, refs, preview)
        SELECT u.id, u.scope, u.hash, u.size, u.object_key, datas[u.n] IS NULL, u.sent_at, u.sent_day, u.thread,
               u.envelope, u.structure, u.body, headers[u.n], u.subject, u.base_subject, u.sort_from, u.sort_to,
               u.sort_cc, u.display_from, u.display_to, u.message_id, u.in_reply_to,
               -- No message id has a "<" in it.
               string_to_array(u.refs, '<'), u.preview
          FROM unnest(ids, scopes, hashes, sizes, keys, sent_ats, sent_days, threads, envelopes, structures,
                      plain_structures, subjects, base_subjects, sorts_from, sorts_to, sorts_cc, displays_from,
                      displays_to, message_ids, answers, references_of, previews) WITH ORDINALITY
               AS u (id, scope, hash, size, object_key, sent_at, sent_day, thread, envelope, structure, body, subject,
                     base_subject, sort_from, sort_to, sort_cc, display_from, display_to, message_id, in_reply_to,
                     refs, preview, n)
        ON CONFLICT (scope, hash) DO NOTHING
        RETURNING b.id
    )
    SELECT coalesce(array_agg(body.id), '{}') INTO made FROM body;
    INSERT INTO body_texts (body_id, complete, fields, header_text, body_text)
    SELECT u.id, completes[u.n], fields_of[u.n]::jsonb, header_texts[u.n], texts[u.n]
      FROM unnest(ids) WITH ORDINALITY AS u (id, n) WHERE u.id = ANY (made);
    INSERT INTO staged_bodies (body_id, size, data)
    SELECT u.id, sizes[u.n], datas[u.n]
      FROM unnest(ids) WITH ORDINALITY AS u (id, n) WHERE u.id = ANY (made) AND datas[u.n] IS NOT NULL;

    IF cardinality(made) < cardinality(ids) THEN
        FOR one IN
            SELECT b.id, u.n FROM unnest(ids, scopes, hashes) WITH ORDINALITY AS u (id, scope, hash, n)
              LEFT JOIN bodies AS b ON b.scope = u.scope AND b.hash = u.hash
             WHERE u.id <> ALL (made)
        LOOP
            ids[one.n] := one.id;
        END LOOP;
    END IF;
END $$;
COMMENT ON FUNCTION insert_bodies IS
    'Store bodies that are new within their scope and find those that are not; `made` are the new ones.';

CREATE FUNCTION bears(trace bytea, line bytea) RETURNS boolean LANGUAGE sql IMMUTABLE AS
$$ SELECT position('\x0d0a'::bytea || line || '\x0d0a'::bytea IN '\x0d0a'::bytea || trace) > 0 $$;
COMMENT ON FUNCTION bears IS 'Whether a trace header has that very line.';

CREATE FUNCTION came_before(
    body bigint, account bigint, mailbox bigint, line bytea, seconds double precision
) RETURNS TABLE (uid bigint, modseq bigint) LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN m.mailbox_id = mailbox THEN m.uid ELSE 0 END, CASE WHEN m.mailbox_id = mailbox THEN m.modseq ELSE 0 END
      FROM messages AS m JOIN mailboxes AS b ON b.id = m.mailbox_id
     WHERE m.body_id = body AND b.account_id = account AND bears(m.trace, line)
       AND m.internal_date > now() - make_interval(secs => seconds)
    UNION ALL
    SELECT 0, 0 FROM tombstones AS t
     WHERE t.body_id = body AND t.account_id = account AND bears(t.trace, line)
       AND t.internal_date > now() - make_interval(secs => seconds)
    ORDER BY 1 DESC LIMIT 1
$$;
COMMENT ON FUNCTION came_before IS
    'The earlier arrival of a delivery that its sender repeats: same body, account and recipient line.';

CREATE FUNCTION insert_messages(
    scopes text[], hashes bytea[], sizes bigint[], keys text[], datas bytea[], sent_ats timestamptz[],
    sent_days date[], threads bigint[], envelopes bytea[], structures bytea[], plain_structures bytea[],
    headers bytea[], subjects text[], base_subjects text[], sorts_from text[], sorts_to text[], sorts_cc text[],
    displays_from text[], displays_to text[], message_ids text[], answers text[], references_of text[],
    previews text[], completes boolean[], fields_of text[], header_texts text[], texts text[],
    boxes bigint[], body_ordinals integer[], traces bytea[], bits smallint[], words jsonb, dates timestamptz[],
    lines bytea[], windows double precision[], surplus text[], keywords_max integer,
    storage_default bigint, messages_default bigint
) RETURNS TABLE (
    ordinal integer, outcome text, uid_validity bigint, uid bigint, modseq bigint,
    body_id bigint, object_key text, stored boolean, filled integer[]
) LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    ids bigint[];
    made bigint[];
    put_keys text[] := keys;
    now_stored boolean[];
    one record;
    before record;
    all_made boolean;
    box bigint;
    next_uid bigint;
    known text[];
    merged text[];
    wanted text[];
    spelled text[];
    -- What is inserted, in the order in which it will be.
    new_ordinals integer[] := '{}';
    new_bodies integer[] := '{}';
    new_boxes bigint[] := '{}';
    new_uids bigint[] := '{}';
    new_modseqs bigint[] := '{}';
    new_words text[] := '{}';
    -- Mailboxes whose keywords became more.
    more_boxes bigint[] := '{}';
    more_words text[] := '{}';
    announced bigint[];
    announced_modseqs bigint[];
    -- Accounts that have a quota, what they may hold, hold, and may still take.
    room record;
    limited bigint[];
    storage_max bigint[];
    messages_max bigint[];
    storage bigint[];
    messages bigint[];
    storage_left bigint[];
    messages_left bigint[];
    place integer;
    octets bigint;
BEGIN
    SELECT i.ids, i.made INTO ids, made
      FROM insert_bodies(scopes, hashes, sizes, keys, datas, sent_ats, sent_days, threads, envelopes, structures,
                         plain_structures, headers, subjects, base_subjects, sorts_from, sorts_to, sorts_cc,
                         displays_from, displays_to, message_ids, answers, references_of, previews, completes,
                         fields_of, header_texts, texts) AS i;
    all_made := cardinality(made) = cardinality(ids);
    IF NOT all_made THEN
        IF array_position(ids, NULL) IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = 'a body was collected in this very moment';
        END IF;
        FOR one IN
            SELECT b.object_key, b.stored, u.n FROM unnest(ids) WITH ORDINALITY AS u (id, n) JOIN bodies AS b ON b.id = u.id
             WHERE u.id <> ALL (made)
        LOOP
            put_keys[one.n] := one.object_key;
            now_stored[one.n] := one.stored;
        END LOOP;
    END IF;

    -- The function asks the same, but to call it for nothing costs more than to ask.
    IF storage_default IS NOT NULL OR messages_default IS NOT NULL OR EXISTS (SELECT FROM quotas)
       OR EXISTS (SELECT FROM domain_quotas) THEN
        FOR room IN SELECT * FROM quota_room(boxes, storage_default, messages_default) LOOP
            limited := limited || room.account;
            storage_max := storage_max || room.storage_max;
            messages_max := messages_max || room.messages_max;
            storage := storage || room.storage;
            messages := messages || room.messages;
            storage_left := storage_left || room.storage_left;
            messages_left := messages_left || room.messages_left;
        END LOOP;
    END IF;
    PERFORM FROM mailboxes AS b WHERE b.id = ANY (boxes) ORDER BY b.id FOR NO KEY UPDATE;
    FOR one IN
        SELECT m.box, m.o::integer AS o, m.b, m.line, m.seconds, words -> m.o::text AS words,
               b.id, b.account_id, b.uid_validity, b.uid_next, b.highest_modseq + 1 AS modseq, b.keywords
          FROM unnest(boxes, body_ordinals, lines, windows) WITH ORDINALITY AS m (box, b, line, seconds, o)
          LEFT JOIN mailboxes AS b ON b.id = m.box
         ORDER BY m.box, m.o
    LOOP
        ordinal := one.o; uid_validity := coalesce(one.uid_validity, 0); uid := 0; modseq := 0; outcome := 'inserted';
        body_id := ids[one.b]; object_key := put_keys[one.b]; stored := coalesce(now_stored[one.b], datas[one.b] IS NULL);
        IF one.id IS NULL THEN
            outcome := 'no mailbox';
            RETURN NEXT;
            CONTINUE;
        END IF;
        IF box IS DISTINCT FROM one.id THEN
            box := one.id;
            next_uid := one.uid_next;
            known := one.keywords;
        END IF;

        IF one.line IS NOT NULL AND one.b = ANY (new_bodies) THEN
            SELECT s.uid, s.modseq, s.box INTO before
              FROM unnest(new_ordinals, new_bodies, new_boxes, new_uids, new_modseqs) AS s (o, b, box, uid, modseq)
              JOIN mailboxes AS b ON b.id = s.box
             WHERE s.b = one.b AND b.account_id = one.account_id AND bears(traces[s.o], one.line)
               AND coalesce(dates[s.o], now()) > now() - make_interval(secs => one.seconds)
             ORDER BY (s.box = one.box) DESC LIMIT 1;
            IF FOUND THEN
                outcome := 'duplicate';
                IF before.box = one.box THEN
                    uid := before.uid;
                    modseq := before.modseq;
                END IF;
                RETURN NEXT;
                CONTINUE;
            END IF;
        END IF;
        IF one.line IS NOT NULL AND NOT all_made AND ids[one.b] <> ALL (made) THEN
            SELECT * INTO before FROM came_before(body_id, one.account_id, one.box, one.line, one.seconds);
            IF FOUND THEN
                outcome := 'duplicate';
                uid := before.uid;
                modseq := before.modseq;
                RETURN NEXT;
                CONTINUE;
            END IF;
        END IF;
        IF next_uid > 4294967295 THEN
            outcome := 'uids';
            RETURN NEXT;
            CONTINUE;
        END IF;
        spelled := NULL;
        IF one.words IS NOT NULL THEN
            wanted := ARRAY(SELECT jsonb_array_elements_text(one.words));
            merged := keywords_merged(known, wanted);
            IF cardinality(merged) > keywords_max AND cardinality(merged) > cardinality(known) THEN
                outcome := 'keywords';
                RETURN NEXT;
                CONTINUE;
            END IF;
            IF cardinality(merged) > cardinality(known) THEN
                more_boxes := more_boxes || box;
                more_words := more_words || merged::text;
            END IF;
            known := merged;
            spelled := keywords_spelled(merged, wanted);
        END IF;
        filled := NULL;
        place := array_position(limited, one.account_id);
        IF place IS NOT NULL THEN
            octets := sizes[one.b] + length(traces[one.o]);
            IF octets > storage_left[place] OR messages_left[place] < 1 THEN
                outcome := 'quota';
                RETURN NEXT;
                CONTINUE;
            END IF;
            filled := ARRAY[thousandths(storage[place], storage_max[place], messages[place], messages_max[place]),
                            thousandths(storage[place] + octets, storage_max[place], messages[place] + 1, messages_max[place])];
            storage[place] := storage[place] + octets;
            messages[place] := messages[place] + 1;
            storage_left[place] := storage_left[place] - octets;
            messages_left[place] := messages_left[place] - 1;
        END IF;

        uid := next_uid;
        modseq := one.modseq;
        next_uid := next_uid + 1;
        new_ordinals := new_ordinals || one.o;
        new_bodies := new_bodies || one.b;
        new_boxes := new_boxes || box;
        new_uids := new_uids || uid;
        new_modseqs := new_modseqs || modseq;
        new_words := new_words || spelled::text;
        RETURN NEXT;
    END LOOP;

    INSERT INTO messages (mailbox_id, uid, body_id, modseq, email_id, thread_id, internal_date, size, flags, keywords,
                          trace)
    SELECT u.box, u.uid, ids[u.b], u.modseq, nextval('email_ids'), threads[u.b], coalesce(dates[u.o], now()),
           sizes[u.b] + length(traces[u.o]), bits[u.o], u.words::text[], traces[u.o]
      FROM unnest(new_ordinals, new_bodies, new_boxes, new_uids, new_modseqs, new_words)
           AS u (o, b, box, uid, modseq, words);
    WITH sums AS (
        SELECT u.box, max(u.uid) AS uid, max(u.modseq) AS modseq, count(*) AS n,
               count(*) FILTER (WHERE bits[u.o] & 1 = 0) AS unseen,
               count(*) FILTER (WHERE bits[u.o] & 8 <> 0) AS deleted,
               sum(sizes[u.b] + length(traces[u.o])) AS size,
               coalesce(sum(sizes[u.b] + length(traces[u.o])) FILTER (WHERE bits[u.o] & 8 <> 0), 0) AS deleted_size
          FROM unnest(new_ordinals, new_bodies, new_boxes, new_uids, new_modseqs) AS u (o, b, box, uid, modseq)
         GROUP BY u.box
    ), changed AS (
        UPDATE mailboxes AS b SET uid_next = s.uid + 1, highest_modseq = s.modseq, messages = b.messages + s.n,
               unseen = b.unseen + s.unseen, deleted = b.deleted + s.deleted, recent = b.recent + s.n,
               size = b.size + s.size, deleted_size = b.deleted_size + s.deleted_size
          FROM sums AS s WHERE b.id = s.box
        RETURNING b.id, b.highest_modseq
    )
    SELECT array_agg(c.id), array_agg(c.highest_modseq) INTO announced, announced_modseqs FROM changed AS c;
    IF cardinality(more_boxes) > 0 THEN
        -- Each entry holds those before it, so the last of a mailbox is the whole.
        UPDATE mailboxes AS b SET keywords = u.words::text[]
          FROM (SELECT DISTINCT ON (m.box) m.box, m.words FROM unnest(more_boxes, more_words) WITH ORDINALITY AS m (box, words, n)
                 ORDER BY m.box, m.n DESC) AS u
         WHERE b.id = u.box;
    END IF;

    IF NOT all_made THEN
        -- A body that is used again is no longer condemned.
        UPDATE bodies AS b SET condemned_at = NULL
         WHERE b.condemned_at IS NOT NULL AND b.id IN (SELECT ids[u.b] FROM unnest(new_bodies) AS u (b));
        -- An object put for a body that was there already, under another key, belongs to nobody.
        INSERT INTO discarded_objects (object_key)
        SELECT keys[u.n] FROM unnest(ids) WITH ORDINALITY AS u (id, n)
         WHERE u.id <> ALL (made) AND datas[u.n] IS NULL AND keys[u.n] <> put_keys[u.n]
        ON CONFLICT DO NOTHING;
    END IF;
    IF cardinality(new_ordinals) < cardinality(boxes) THEN
        -- A new body that nobody uses is condemned from the start.
        UPDATE bodies AS b SET condemned_at = now()
         WHERE b.id = ANY (made) AND b.id NOT IN (SELECT ids[u.b] FROM unnest(new_bodies) AS u (b));
    END IF;
    IF cardinality(surplus) > 0 THEN
        INSERT INTO discarded_objects (object_key) SELECT unnest(surplus) ON CONFLICT DO NOTHING;
    END IF;
    PERFORM announce(announced, announced_modseqs);
END $$;
COMMENT ON FUNCTION insert_messages IS
    'Insert many messages with their bodies; a member that cannot be stored says why and harms no other.';

CREATE FUNCTION refuse(outcome text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    CASE outcome
        WHEN 'no mailbox' THEN RAISE EXCEPTION USING ERRCODE = 'SO001', MESSAGE = 'the mailbox does not exist';
        WHEN 'uids' THEN RAISE EXCEPTION USING ERRCODE = 'SO005', MESSAGE = 'the mailbox has no UIDs left';
        WHEN 'quota' THEN RAISE EXCEPTION USING ERRCODE = 'SO007', MESSAGE = 'the quota leaves no room for the messages';
        WHEN 'keywords' THEN
            RAISE EXCEPTION USING ERRCODE = 'SO006', MESSAGE = 'too many different keywords in one mailbox';
        ELSE RETURN NULL;
    END CASE;
END $$;
COMMENT ON FUNCTION refuse IS
    'Undo the whole statement for the sake of one message that cannot be stored; the others'' outcomes are NULL.';

CREATE FUNCTION make_room(
    source_id bigint, old_uid bigint, target_id bigint, target_account bigint, target_name text,
    storage_default bigint, messages_default bigint,
    who_account bigint, who_address text, protocol text, session text
) RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    source mailboxes%ROWTYPE;
    gone tid[];
    lost record;
BEGIN
    IF target_id IS NULL THEN
        SELECT id INTO target_id FROM mailboxes WHERE account_id = target_account AND name = target_name;
    END IF;
    IF target_id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'SO001', MESSAGE = 'the mailbox does not exist';
    END IF;
    -- The accounts before the mailboxes, as everywhere; all that the insertion will lock.
    PERFORM FROM quota_room(ARRAY[target_id], storage_default, messages_default);
    PERFORM FROM mailboxes WHERE id IN (source_id, target_id) ORDER BY id FOR NO KEY UPDATE;
    SELECT * INTO source FROM mailboxes WHERE id = source_id;
    gone := places_of(source_id, ARRAY[old_uid, old_uid]);
    IF cardinality(gone) = 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'SO010', MESSAGE = 'the message is gone';
    END IF;
    SELECT * INTO lost FROM bury(source_id, source.account_id, gone, source.highest_modseq + 1, 'expunge',
                                 who_account, who_address, protocol, session);
    UPDATE mailboxes AS u SET highest_modseq = source.highest_modseq + 1, messages = u.messages - lost.n,
           unseen = u.unseen - lost.unseen, deleted = u.deleted - lost.deleted, recent = u.recent - lost.recent,
           size = u.size - lost.size, deleted_size = u.deleted_size - lost.deleted_size
     WHERE u.id = source_id;
    PERFORM announce(ARRAY[source_id], ARRAY[source.highest_modseq + 1]);
    RETURN target_id;
END $$;
COMMENT ON FUNCTION make_room IS
    'Bury the message that another one will replace, before that is inserted, so that a quota sees the difference only.';
