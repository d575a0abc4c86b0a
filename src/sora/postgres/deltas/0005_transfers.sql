-- compat: 5
-- How messages leave a mailbox: expunged, copied, moved; each as one call.

-- Messages are looked up run by run, whatever the planner believes of a mailbox that was filled since the last
-- ANALYZE, and then changed by their places, which cannot move while we hold the mailbox's row.
CREATE FUNCTION places_of(box_id bigint, runs bigint[]) RETURNS tid[] LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(every.place), '{}') FROM (
        SELECT one.place FROM generate_series(1, cardinality(runs), 2) AS k
         CROSS JOIN LATERAL (SELECT ctid AS place FROM messages
                              WHERE mailbox_id = box_id AND uid BETWEEN runs[k] AND runs[k + 1] OFFSET 0) AS one
         UNION ALL
        SELECT ctid FROM messages WHERE mailbox_id = box_id AND runs IS NULL) AS every
$$;
COMMENT ON FUNCTION places_of IS
    'Where messages of a mailbox are in their table; runs: first and last UID of each, disjoint; NULL: all messages.';

CREATE FUNCTION entomb(
    owner bigint, gone tid[], fresh bigint, how text,
    who_account bigint, who_address text, protocol text, session text
) RETURNS void LANGUAGE sql AS $$
    INSERT INTO tombstones (mailbox_id, uid, modseq, account_id, body_id, email_id, thread_id, internal_date, save_date,
                            size, flags, keywords, trace, how, who_account, who_address, protocol, session)
    SELECT mailbox_id, uid, fresh, owner, body_id, email_id, thread_id, internal_date, save_date, size, flags, keywords,
           trace, entomb.how, entomb.who_account, entomb.who_address, entomb.protocol, entomb.session
      FROM messages WHERE ctid = ANY (gone)
     ORDER BY uid
$$;
COMMENT ON FUNCTION entomb IS 'Make tombstones of messages that leave in this transaction.';

CREATE FUNCTION bury(
    box_id bigint, owner bigint, gone tid[], fresh bigint, how text,
    who_account bigint, who_address text, protocol text, session text,
    OUT n integer, OUT unseen integer, OUT deleted integer, OUT recent integer, OUT size bigint, OUT deleted_size bigint,
    OUT uids_octets bytea
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    first_recent bigint;
    noted boolean;
BEGIN
    PERFORM entomb(owner, gone, fresh, how, who_account, who_address, protocol, session);
    SELECT recent_from, private_seen INTO first_recent, noted FROM mailboxes WHERE id = box_id;
    IF noted THEN
        PERFORM forget_seen(box_id, ARRAY(SELECT m.uid FROM messages AS m WHERE m.ctid = ANY (gone)));
    END IF;
    WITH d AS (
        DELETE FROM messages AS m WHERE m.ctid = ANY (gone)
        RETURNING m.uid, m.flags, m.size
    )
    SELECT count(*), coalesce(sum((d.flags & 1 = 0)::integer), 0), coalesce(sum((d.flags & 8 <> 0)::integer), 0),
           coalesce(sum((d.uid >= first_recent)::integer), 0), coalesce(sum(d.size), 0),
           coalesce(sum(d.size) FILTER (WHERE d.flags & 8 <> 0), 0),
           coalesce(string_agg(uid_octets(d.uid), '' ORDER BY d.uid), '')
      INTO n, unseen, deleted, recent, size, deleted_size, uids_octets
      FROM d;
END $$;
COMMENT ON FUNCTION bury IS
    'Turn messages into tombstones and say what the mailbox loses. The caller holds its row.';

CREATE FUNCTION expunge_messages(
    box_id bigint, runs bigint[], who_account bigint, who_address text, protocol text, session text
) RETURNS TABLE (highest_modseq bigint, uids_octets bytea) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    box mailboxes%ROWTYPE;
    lost record;
    gone tid[];
BEGIN
    SELECT * INTO box FROM mailboxes WHERE id = box_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'SO001', MESSAGE = 'the mailbox was deleted';
    END IF;
    highest_modseq := box.highest_modseq;
    uids_octets := '';
    -- The counter saves looking through a mailbox where nothing is \Deleted.
    IF box.deleted > 0 THEN
        IF runs IS NULL THEN
            SELECT array_agg(m.ctid) INTO gone FROM messages AS m WHERE m.mailbox_id = box_id AND m.flags & 8 <> 0;
        ELSE
            SELECT array_agg(m.ctid) INTO gone FROM messages AS m
             WHERE m.ctid = ANY (places_of(box_id, runs)) AND m.flags & 8 <> 0;
        END IF;
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

CREATE FUNCTION transfer_messages(
    source_id bigint, runs bigint[], target_id bigint, target_account bigint, target_name text, moving boolean,
    keywords_max integer, who_account bigint, who_address text, protocol text, session text,
    storage_default bigint DEFAULT NULL, messages_default bigint DEFAULT NULL
) RETURNS TABLE (uid_validity bigint, source_octets bytea, first_uid bigint, target_box bigint, left_modseq bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    source mailboxes%ROWTYPE;
    target mailboxes%ROWTYPE;
    total record;
    merged text[];
    fresh bigint;
    left_at bigint;
    room_octets bigint;
    room_messages bigint;
BEGIN
    IF target_id IS NULL THEN
        SELECT id INTO target_id FROM mailboxes WHERE account_id = target_account AND name = target_name;
    END IF;
    -- What moves within an account adds nothing to it.
    IF NOT moving OR (SELECT min(account_id) < max(account_id) FROM mailboxes WHERE id IN (source_id, target_id)) THEN
        SELECT storage_left, messages_left INTO room_octets, room_messages
          FROM quota_room(ARRAY[target_id], storage_default, messages_default);
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
    SELECT count(*) AS n, array_agg(ctid ORDER BY uid) AS places,
           coalesce(string_agg(uid_octets(uid), '' ORDER BY uid), '') AS octets,
           coalesce(sum((flags & 1 = 0)::integer), 0) AS unseen, coalesce(sum((flags & 8 <> 0)::integer), 0) AS deleted,
           coalesce(sum(size), 0) AS size, coalesce(sum(size) FILTER (WHERE flags & 8 <> 0), 0) AS deleted_size,
           coalesce(sum((uid >= source.recent_from)::integer), 0) AS recent, bool_or(keywords IS NOT NULL) AS worded
      INTO total FROM messages WHERE ctid = ANY (places_of(source_id, runs));
    uid_validity := target.uid_validity;
    source_octets := total.octets;
    first_uid := target.uid_next;
    target_box := target_id;
    IF total.n = 0 THEN
        RETURN NEXT;
        RETURN;
    END IF;
    IF total.size > room_octets OR total.n > room_messages THEN
        RAISE EXCEPTION USING ERRCODE = 'SO007', MESSAGE = 'the quota leaves no room for these messages';
    END IF;
    IF target.uid_next + total.n - 1 > 4294967295 THEN
        RAISE EXCEPTION USING ERRCODE = 'SO005', MESSAGE = 'the target mailbox has no UIDs left';
    END IF;
    merged := target.keywords;
    IF total.worded AND source_id <> target_id THEN
        merged := keywords_merged(target.keywords, ARRAY(
            SELECT k FROM messages AS m, unnest(m.keywords) AS k
             WHERE m.ctid = ANY (total.places) GROUP BY k ORDER BY min(m.uid), k));
        IF cardinality(merged) > keywords_max AND cardinality(merged) > cardinality(target.keywords) THEN
            RAISE EXCEPTION USING ERRCODE = 'SO006', MESSAGE = 'too many different keywords in one mailbox';
        END IF;
    END IF;
    fresh := target.highest_modseq + 1;

    IF moving THEN
        IF source.private_seen THEN
            PERFORM forget_seen(source_id, ARRAY(SELECT uid FROM messages WHERE ctid = ANY (total.places)));
        END IF;
        left_at := CASE WHEN source_id = target_id THEN fresh ELSE source.highest_modseq + 1 END;
        PERFORM entomb(source.account_id, total.places, left_at, 'move', who_account, who_address, protocol, session);
        -- The rows themselves move: that spares a second row each, and asking whether their bodies exist.
        UPDATE messages AS m
           SET mailbox_id = target_id, uid = target.uid_next + k.ordinal - 1, modseq = fresh, save_date = now(),
               keywords = CASE WHEN m.keywords IS NOT NULL THEN keywords_spelled(merged, m.keywords) END
          FROM unnest(total.places) WITH ORDINALITY AS k (place, ordinal)
         WHERE m.ctid = k.place;
    ELSE
        INSERT INTO messages (mailbox_id, uid, body_id, modseq, email_id, thread_id, internal_date, size, flags,
                              keywords, trace)
        SELECT target_id, target.uid_next + row_number() OVER (ORDER BY uid) - 1, body_id, fresh, email_id, thread_id,
               internal_date, size, flags,
               CASE WHEN keywords IS NOT NULL THEN keywords_spelled(merged, keywords) END, trace
          FROM messages WHERE ctid = ANY (total.places) ORDER BY uid;
    END IF;
    UPDATE mailboxes AS u SET uid_next = u.uid_next + total.n, highest_modseq = fresh, messages = u.messages + total.n,
           unseen = u.unseen + total.unseen, deleted = u.deleted + total.deleted, recent = u.recent + total.n,
           size = u.size + total.size, deleted_size = u.deleted_size + total.deleted_size, keywords = merged
     WHERE u.id = target_id;
    IF moving THEN
        left_modseq := left_at;
        UPDATE mailboxes AS u SET highest_modseq = left_at, messages = u.messages - total.n,
               unseen = u.unseen - total.unseen, deleted = u.deleted - total.deleted, recent = u.recent - total.recent,
               size = u.size - total.size, deleted_size = u.deleted_size - total.deleted_size
         WHERE u.id = source_id;
    END IF;
    IF moving AND source_id <> target_id THEN
        PERFORM announce(ARRAY[target_id, source_id], ARRAY[fresh, left_at]);
    ELSE
        PERFORM announce(ARRAY[target_id], ARRAY[fresh]);
    END IF;
    RETURN NEXT;
END $$;
COMMENT ON FUNCTION transfer_messages IS
    'Copy or move messages (uids NULL: all), all or none; the new UIDs are consecutive, in the order of the old.';
