-- compat: 13
-- A \Seen of one's own in mailboxes of others (`shared_mailboxes.seen_per_user`). The owner's is in the messages' rows.

CREATE TABLE private_readers (
    mailbox_id  bigint NOT NULL REFERENCES mailboxes ON DELETE CASCADE,
    account_id  bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    seen        integer NOT NULL DEFAULT 0 CHECK (seen >= 0),
    modseq      bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (mailbox_id, account_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE private_readers IS
    'Someone who has a \Seen of his own in another''s mailbox: how many messages he has seen, and when that changed last.';
CREATE INDEX private_readers_account ON private_readers (account_id);

CREATE TABLE private_seen (
    mailbox_id  bigint NOT NULL,
    account_id  bigint NOT NULL,
    uid         bigint NOT NULL,
    modseq      bigint NOT NULL,
    seen        boolean NOT NULL,
    PRIMARY KEY (mailbox_id, account_id, uid),
    FOREIGN KEY (mailbox_id, account_id) REFERENCES private_readers ON DELETE CASCADE
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
COMMENT ON TABLE private_seen IS
    'What one reader has seen of a message that is in the mailbox, and at which of the mailbox''s modseqs that changed. '
    'Not seen any more is a row as well, so that his other sessions hear of it; no row: never seen.';
CREATE INDEX private_seen_modseq ON private_seen (mailbox_id, account_id, modseq);

ALTER TABLE mailboxes ADD COLUMN private_seen boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN mailboxes.private_seen IS
    'Whether private_seen may have rows of this mailbox: whoever removes messages need not look there otherwise.';

CREATE FUNCTION messages_as(reader bigint, box_id bigint, since bigint, begins bigint)
RETURNS TABLE (uid bigint, flags smallint, modseq bigint, keywords text[]) LANGUAGE sql STABLE AS $$
    SELECT m.uid, (m.flags & ~1 | coalesce(p.seen, false)::integer)::smallint, greatest(m.modseq, p.modseq), m.keywords
      FROM messages AS m
      LEFT JOIN private_seen AS p ON p.mailbox_id = box_id AND p.account_id = reader AND p.uid = m.uid
     WHERE m.mailbox_id = box_id AND m.modseq > since AND m.uid >= begins
    UNION ALL
    SELECT m.uid, (m.flags & ~1 | p.seen::integer)::smallint, p.modseq, m.keywords
      FROM private_seen AS p JOIN messages AS m ON m.mailbox_id = box_id AND m.uid = p.uid
     WHERE p.mailbox_id = box_id AND p.account_id = reader AND p.modseq > since AND since > 0
       AND (m.modseq <= since OR m.uid < begins)
$$;
COMMENT ON FUNCTION messages_as IS
    'The messages that changed after a modseq (0: all) as a reader sees them: his own \Seen, the later of two modseqs. '
    'Those of the mailbox are found from the UID `begins` on.';

CREATE FUNCTION runs_of(uids bigint[]) RETURNS bigint[] LANGUAGE sql IMMUTABLE AS
$$ SELECT ARRAY(SELECT u FROM unnest(uids) AS u, generate_series(1, 2) ORDER BY u) $$;
COMMENT ON FUNCTION runs_of IS 'UIDs as runs of one each: first and last, in turn.';

CREATE FUNCTION named_as(reader bigint, box_id bigint, runs bigint[])
RETURNS TABLE (uid bigint, flags smallint, modseq bigint, keywords text[], seen boolean) LANGUAGE sql STABLE AS $$
    -- Run by run, as change_flags does: the planner knows nothing of a mailbox filled since the last ANALYZE.
    SELECT m.uid, (m.flags & ~1 | coalesce(p.seen, false)::integer)::smallint, greatest(m.modseq, p.modseq), m.keywords,
           coalesce(p.seen, false)
      FROM generate_series(1, cardinality(runs), 2) AS k
     CROSS JOIN LATERAL (SELECT uid, flags, modseq, keywords FROM messages
                          WHERE mailbox_id = box_id AND uid BETWEEN runs[k] AND runs[k + 1] OFFSET 0) AS m
      LEFT JOIN LATERAL (SELECT seen, modseq FROM private_seen
                          WHERE mailbox_id = box_id AND account_id = reader AND uid = m.uid OFFSET 0) AS p ON true
$$;
COMMENT ON FUNCTION named_as IS
    'Messages of a mailbox as a reader sees them; runs: first and last UID of each, disjoint.';

CREATE FUNCTION announce_to(reader bigint, box_id bigint, modseq bigint) RETURNS void LANGUAGE sql AS
$$ SELECT pg_notify('sora', box_id || ':' || modseq || ':' || reader) $$;
COMMENT ON FUNCTION announce_to IS 'Tell all processes, once committed, that a mailbox changed for one reader alone.';

CREATE FUNCTION note_seen(reader bigint, box_id bigint, runs bigint[], wanted boolean, fresh bigint) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    n integer;
BEGIN
    INSERT INTO private_readers (mailbox_id, account_id) VALUES (box_id, reader) ON CONFLICT DO NOTHING;
    INSERT INTO private_seen AS p (mailbox_id, account_id, uid, modseq, seen)
    SELECT box_id, reader, k.uid, fresh, wanted FROM named_as(reader, box_id, runs) AS k WHERE k.seen <> wanted
        ON CONFLICT (mailbox_id, account_id, uid) DO UPDATE SET modseq = excluded.modseq, seen = excluded.seen;
    GET DIAGNOSTICS n = ROW_COUNT;
    IF n > 0 THEN
        UPDATE private_readers SET seen = seen + CASE WHEN wanted THEN n ELSE -n END, modseq = fresh
         WHERE mailbox_id = box_id AND account_id = reader;
        UPDATE mailboxes SET private_seen = true WHERE id = box_id AND NOT private_seen;
    END IF;
    RETURN n;
END $$;
COMMENT ON FUNCTION note_seen IS
    'Have a reader see messages, or not any more, at a modseq that the caller gives; returns how many that changes. '
    'The caller holds the mailbox''s row.';

CREATE FUNCTION forget_seen(box_id bigint, gone bigint[]) RETURNS void LANGUAGE sql AS $$
    WITH lost AS (
        DELETE FROM private_seen AS p
         USING private_readers AS r CROSS JOIN unnest(gone) AS k (uid)
         WHERE r.mailbox_id = box_id AND p.mailbox_id = box_id AND p.account_id = r.account_id AND p.uid = k.uid
        RETURNING p.account_id, p.seen
    )
    UPDATE private_readers AS r SET seen = r.seen - l.n
      FROM (SELECT account_id, count(*) FILTER (WHERE seen) AS n FROM lost GROUP BY account_id) AS l
     WHERE r.mailbox_id = box_id AND r.account_id = l.account_id
$$;
COMMENT ON FUNCTION forget_seen IS 'Forget who has seen messages that leave a mailbox. The caller holds its row.';

CREATE FUNCTION store_flags_as(
    reader bigint, boxes bigint[], calls integer[], runs bigint[], counts integer[], kept integer[], added integer[],
    changes text[], words text[], unchanged bigint[], keywords_max integer, message_keywords_max integer, waits boolean
) RETURNS TABLE (highest_modseq bigint, uids_octets bytea, flags_octets bytea, modseqs_octets bytea, keywords json,
                 refused bytea, changed boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    box_id constant bigint := boxes[1];
    box mailboxes%ROWTYPE;
    fresh bigint;
    these bigint[];
    named bigint[];
    absent text[];
    begins integer := 1;
    delta record;
    everyones boolean := false;
    own boolean := false;
BEGIN
    IF NOT waits THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
    SELECT * INTO box FROM mailboxes WHERE id = box_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'SO001', MESSAGE = 'the mailbox was deleted';
    END IF;
    fresh := box.highest_modseq + 1;
    FOR i IN 1 .. cardinality(counts) LOOP
        these := runs[begins : begins + counts[i] - 1];
        begins := begins + counts[i];
        refused := '';
        IF unchanged[i] IS NOT NULL THEN
            -- As change_flags does: 0 asks whether a keyword exists.
            absent := CASE WHEN unchanged[i] = 0 AND kept[i] = -1 AND added[i] = 0
                           THEN string_to_array(lower(words[i]), ' ') END;
            SELECT coalesce(array_agg(k.uid) FILTER (WHERE k.passes), '{}'),
                   coalesce(string_agg(uid_octets(k.uid), '' ORDER BY k.uid) FILTER (WHERE NOT k.passes), '')
              INTO named, refused
              FROM (SELECT n.uid, n.modseq <= unchanged[i] OR (absent IS NOT NULL AND NOT coalesce(
                                      lower(n.keywords::text)::text[] && absent, false)) AS passes
                      FROM named_as(reader, box_id, these) AS n) AS k;
            these := runs_of(named);
        END IF;
        IF kept[i] & 1 = 0 THEN
            own := note_seen(reader, box_id, these, added[i] & 1 = 1, fresh) > 0 OR own;
        END IF;
        IF kept[i] | 1 <> -1 OR added[i] & ~1 <> 0 OR words[i] IS NOT NULL THEN
            SELECT * INTO delta
              FROM change_flags(box_id, box.keywords, fresh, these, kept[i] | 1, added[i] & ~1, changes[i], words[i],
                                NULL, keywords_max, message_keywords_max);
            IF delta.n > 0 THEN
                everyones := true;
                box.deleted := box.deleted + delta.deleted;
                box.deleted_size := box.deleted_size + delta.deleted_size;
                box.keywords := delta.spelled;
            END IF;
        END IF;
        SELECT coalesce(string_agg(uid_octets(k.uid), '' ORDER BY k.uid), ''),
               coalesce(string_agg(int2send(k.flags), '' ORDER BY k.uid), ''),
               coalesce(string_agg(int8send(k.modseq), '' ORDER BY k.uid), ''),
               json_object_agg(k.uid, k.keywords) FILTER (WHERE k.keywords IS NOT NULL)
          INTO uids_octets, flags_octets, modseqs_octets, keywords
          FROM named_as(reader, box_id, these) AS k;
        changed := own OR everyones;
        highest_modseq := CASE WHEN changed THEN fresh ELSE box.highest_modseq END;
        RETURN NEXT;
    END LOOP;
    IF everyones THEN
        UPDATE mailboxes SET highest_modseq = fresh, changed_modseq = fresh, deleted = box.deleted,
               deleted_size = box.deleted_size, keywords = box.keywords
         WHERE id = box_id;
        PERFORM announce(ARRAY[box_id], ARRAY[fresh]);
    ELSIF own THEN
        -- changed_modseq stays: no message changed.
        UPDATE mailboxes SET highest_modseq = fresh WHERE id = box_id;
        PERFORM announce_to(reader, box_id, fresh);
    END IF;
END $$;
COMMENT ON FUNCTION store_flags_as IS
    'Apply one reader''s STOREs to one mailbox, as store_flags does, where his \Seen is his own.';

CREATE FUNCTION transfer_messages_as(
    reader bigint, seen_here boolean, seen_there boolean, keeps boolean,
    source_id bigint, runs bigint[], target_id bigint, target_account bigint, target_name text, moving boolean,
    keywords_max integer, who_account bigint, who_address text, protocol text, session text,
    storage_default bigint DEFAULT NULL, messages_default bigint DEFAULT NULL
) RETURNS TABLE (uid_validity bigint, source_octets bytea, first_uid bigint, target_box bigint, left_modseq bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    seen bigint[];
    owns_both boolean;
    marked bigint[];
    turned integer;
BEGIN
    IF target_id IS NULL THEN
        SELECT id INTO target_id FROM mailboxes WHERE account_id = target_account AND name = target_name;
    END IF;
    -- What the transfer will lock, in its order, so that what was seen is of one moment with it.
    PERFORM FROM quota_room(ARRAY[target_id], storage_default, messages_default);
    PERFORM FROM mailboxes WHERE id IN (source_id, target_id) ORDER BY id FOR NO KEY UPDATE;
    SELECT count(DISTINCT account_id) = 1 INTO owns_both FROM mailboxes WHERE id IN (source_id, target_id);
    -- Which of the messages the reader has seen, by their place among those that are transferred.
    SELECT array_agg(k.place) FILTER (WHERE k.seen) INTO seen
      FROM (SELECT row_number() OVER (ORDER BY m.uid) AS place,
                   CASE WHEN seen_here THEN p.seen ELSE m.flags & 1 <> 0 END AS seen
              FROM messages AS m
              LEFT JOIN private_seen AS p ON p.mailbox_id = source_id AND p.account_id = reader AND p.uid = m.uid
             WHERE m.ctid = ANY (places_of(source_id, runs))) AS k;
    SELECT * INTO uid_validity, source_octets, first_uid, target_box, left_modseq
      FROM transfer_messages(source_id, runs, target_id, target_account, target_name, moving,
                             keywords_max, who_account, who_address, protocol, session, storage_default,
                             messages_default);
    IF source_octets = '' THEN
        RETURN NEXT;
        RETURN;
    END IF;
    marked := ARRAY(SELECT first_uid + k.place - 1 FROM unnest(seen) AS k (place));
    -- The owner of the target sees what the mover saw if he is the mover, what he saw himself if he owns the source,
    -- and nothing otherwise.
    IF NOT seen_there OR NOT owns_both THEN
        WITH turning AS (
            UPDATE messages AS m SET flags = m.flags # 1
             WHERE m.mailbox_id = target_box AND m.uid >= first_uid
               AND (m.flags & 1 <> 0) <> (NOT seen_there AND m.uid IN (SELECT unnest(marked)))
            RETURNING m.flags & 1 AS now
        )
        SELECT coalesce(sum(CASE now WHEN 0 THEN 1 ELSE -1 END), 0) INTO turned FROM turning;
        IF turned <> 0 THEN
            UPDATE mailboxes SET unseen = unseen + turned WHERE id = target_box;
        END IF;
    END IF;
    IF seen_there AND keeps AND marked <> '{}' THEN
        PERFORM note_seen(reader, target_box, runs_of(marked), true, b.highest_modseq) FROM mailboxes AS b WHERE b.id = target_box;
    END IF;
    RETURN NEXT;
END $$;
COMMENT ON FUNCTION transfer_messages_as IS
    'Copy or move messages as transfer_messages does, for a reader with a \Seen of his own in the source (seen_here) or the '
    'target (seen_there, where he may set it if he `keeps` it): his copies are as he saw the messages.';
