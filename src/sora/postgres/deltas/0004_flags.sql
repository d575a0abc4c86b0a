-- compat: 4
-- How flags change, as one call.

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
