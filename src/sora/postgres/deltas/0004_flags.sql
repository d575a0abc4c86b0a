-- compat: 4
-- How flags change: many STOREs, of one mailbox or of several, as one call; and what a crash may take back of them.

ALTER TABLE mailboxes ADD COLUMN lost_from bigint NOT NULL DEFAULT 0, ADD COLUMN lost_to bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN mailboxes.lost_from IS
    'Modseqs between this one and lost_to were perhaps given before a crash that took them back: who knows of one '
    'has to read the mailbox anew.';

-- Recovery empties tables that are not logged, and they are empty in what a standby becomes, too.
CREATE UNLOGGED TABLE unbroken (since timestamptz NOT NULL DEFAULT now());
COMMENT ON TABLE unbroken IS
    'One row, for as long as the server has not crashed: commits that did not wait for the disk are all still there.';

CREATE FUNCTION modseqs_secured() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    -- More changes than one mailbox can see in the moment that a crash takes back.
    gap constant bigint := 1000000;
BEGIN
    IF pg_is_in_recovery() THEN
        RETURN false;
    END IF;
    IF NOT EXISTS (SELECT FROM unbroken) THEN
        LOCK TABLE unbroken IN SHARE ROW EXCLUSIVE MODE;
        IF NOT EXISTS (SELECT FROM unbroken) THEN
            UPDATE mailboxes SET lost_from = CASE lost_to WHEN 0 THEN highest_modseq ELSE lost_from END,
                   lost_to = highest_modseq + gap, highest_modseq = highest_modseq + gap
             WHERE messages > 0;
            INSERT INTO unbroken DEFAULT VALUES;
        END IF;
    END IF;
    RETURN true;
END $$;
COMMENT ON FUNCTION modseqs_secured IS
    'After a crash put modseqs out of reach of those that were given and taken back; before any other change.';

CREATE FUNCTION change_flags(
    box_id bigint, known text[], fresh bigint, runs bigint[], kept integer, added integer, change text, words text,
    unchanged bigint, keywords_max integer, message_keywords_max integer,
    OUT uids_octets bytea, OUT flags_octets bytea, OUT modseqs_octets bytea, OUT keywords json, OUT refused bytea,
    OUT n integer, OUT unseen integer, OUT deleted integer, OUT deleted_size bigint, OUT spelled text[]
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    wanted text[];
    absent text[];
    places tid[];
    longest integer;
    named bigint[];
BEGIN
    refused := '';
    spelled := known;
    IF unchanged IS NOT NULL THEN
        -- 0 asks whether a keyword exists, and system flags always do (RFC 7162 3.1.3). REMOVE and ADD of none leave -1.
        absent := CASE WHEN unchanged = 0 AND kept = -1 AND added = 0 THEN string_to_array(lower(words), ' ') END;
        SELECT coalesce(array_agg(m.uid) FILTER (WHERE m.passes), '{}'),
               coalesce(string_agg(uid_octets(m.uid), '' ORDER BY m.uid) FILTER (WHERE NOT m.passes), '')
          INTO named, refused
          FROM generate_series(1, cardinality(runs), 2) AS k
         CROSS JOIN LATERAL (SELECT uid, modseq <= unchanged OR (absent IS NOT NULL AND NOT coalesce(
                                        lower(keywords::text)::text[] && absent, false)) AS passes
                               FROM messages
                              WHERE mailbox_id = box_id AND uid BETWEEN runs[k] AND runs[k + 1] OFFSET 0) AS m;
        runs := ARRAY(SELECT u FROM unnest(named) AS u, generate_series(1, 2) ORDER BY u);
    END IF;
    wanted := nullif(string_to_array(words, ' '), '{}');
    IF wanted IS NOT NULL THEN
        IF change <> 'remove' AND runs <> '{}' THEN
            spelled := keywords_merged(known, wanted);
            IF cardinality(spelled) > keywords_max AND cardinality(spelled) > cardinality(known) THEN
                RAISE EXCEPTION USING ERRCODE = 'SO006', MESSAGE = 'too many different keywords in one mailbox';
            END IF;
        END IF;
        wanted := keywords_spelled(spelled, wanted);
    END IF;
    -- Each run is looked up by its key: OFFSET 0 keeps the planner from joining. It knows nothing of a
    -- mailbox that was filled since the last ANALYZE, believes it empty, and would compare all with all.
    SELECT count(*) FILTER (WHERE differs), array_agg(place) FILTER (WHERE differs),
           max(cardinality(worded)) FILTER (WHERE differs),
           coalesce(sum((now & 1 = 0)::integer - (was & 1 = 0)::integer), 0),
           coalesce(sum((now & 8 <> 0)::integer - (was & 8 <> 0)::integer), 0),
           coalesce(sum(((now & 8 <> 0)::integer - (was & 8 <> 0)::integer) * size), 0),
           coalesce(string_agg(uid_octets(uid), ''), ''),
           coalesce(string_agg(int2send(now), ''), ''),
           coalesce(string_agg(int8send(CASE WHEN differs THEN fresh ELSE modseq END), ''), ''),
           json_object_agg(uid, worded) FILTER (WHERE worded IS NOT NULL)
      INTO n, places, longest, unseen, deleted, deleted_size, uids_octets, flags_octets, modseqs_octets, keywords
      FROM (SELECT m.place, m.uid, m.size, m.modseq, m.was, m.now, m.worded,
                   m.was <> m.now OR m.keywords IS DISTINCT FROM m.worded AS differs
              FROM generate_series(1, cardinality(runs), 2) AS k
             CROSS JOIN LATERAL (
                   SELECT ctid AS place, uid, size, modseq, flags AS was, (flags & kept | added)::smallint AS now, keywords,
                          CASE WHEN words IS NULL THEN keywords
                               ELSE keywords_changed(keywords, change, wanted) END AS worded
                     FROM messages
                    WHERE mailbox_id = box_id AND uid BETWEEN runs[k] AND runs[k + 1] OFFSET 0) AS m
             ORDER BY m.uid) AS c;
    IF longest > message_keywords_max THEN
        RAISE EXCEPTION USING ERRCODE = 'SO006', MESSAGE = 'too many keywords on one message';
    END IF;
    IF n > 0 THEN
        -- By their places, which cannot change while we hold the mailbox's row.
        UPDATE messages AS m
           SET flags = m.flags & kept | added, modseq = fresh,
               keywords = CASE WHEN words IS NULL THEN m.keywords ELSE keywords_changed(m.keywords, change, wanted) END
         WHERE m.ctid = ANY (places);
    END IF;
END $$;
COMMENT ON FUNCTION change_flags IS
    'Apply one STORE to messages of a mailbox whose row the caller holds; runs: first and last UID of each, disjoint.';

CREATE FUNCTION store_flags(
    boxes bigint[], calls integer[], runs bigint[], counts integer[], kept integer[], added integer[], changes text[],
    words text[], unchanged bigint[], keywords_max integer, message_keywords_max integer, waits boolean
) RETURNS TABLE (highest_modseq bigint, uids_octets bytea, flags_octets bytea, modseqs_octets bytea, keywords json,
                 refused bytea, changed boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    last constant integer := cardinality(boxes);
    begins integer := 1;
    call integer := 0;
    box_id bigint;
    box record;
    first bigint;
    fresh bigint;
    one record;
    now smallint;
    delta record;
    told_boxes bigint[];
    told_modseqs bigint[];
BEGIN
    IF NOT waits THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
    FOR i IN 1 .. last LOOP
        IF box_id IS NULL THEN
            -- They come in the order of their ids, and in that order they are locked.
            box_id := boxes[i];
            SELECT highest_modseq AS modseq, unseen, deleted, deleted_size, keywords INTO box
              FROM mailboxes WHERE id = box_id FOR NO KEY UPDATE;
            IF NOT FOUND THEN
                RAISE EXCEPTION USING ERRCODE = 'SO001', MESSAGE = 'the mailbox was deleted';
            END IF;
            first := box.modseq;
        END IF;
        IF calls[i] <> call THEN
            call := calls[i];
            changed := false;
        END IF;
        fresh := CASE WHEN changed THEN box.modseq ELSE box.modseq + 1 END;
        refused := '';
        keywords := NULL;
        IF counts[i] = 2 AND runs[begins] = runs[begins + 1] AND words[i] IS NULL AND unchanged[i] IS NULL THEN
            -- What nearly all are: one message, no keywords, no condition.
            SELECT ctid AS place, uid, flags, modseq, size, keywords INTO one
              FROM messages WHERE mailbox_id = box_id AND uid = runs[begins];
            IF FOUND THEN
                now := one.flags & kept[i] | added[i];
                IF now <> one.flags THEN
                    UPDATE messages SET flags = now, modseq = fresh WHERE ctid = one.place;
                    one.modseq := fresh;
                    changed := true;
                    IF (now # one.flags) & 1 <> 0 THEN
                        box.unseen := box.unseen + CASE now & 1 WHEN 0 THEN 1 ELSE -1 END;
                    END IF;
                    IF (now # one.flags) & 8 <> 0 THEN
                        box.deleted := box.deleted + CASE now & 8 WHEN 0 THEN -1 ELSE 1 END;
                        box.deleted_size := box.deleted_size + CASE now & 8 WHEN 0 THEN -one.size ELSE one.size END;
                    END IF;
                END IF;
                uids_octets := int4send(one.uid::bit(32)::integer);
                flags_octets := int2send(now);
                modseqs_octets := int8send(one.modseq);
                IF one.keywords IS NOT NULL THEN
                    keywords := json_build_object(one.uid, one.keywords);
                END IF;
            ELSE
                uids_octets := '';
                flags_octets := '';
                modseqs_octets := '';
            END IF;
        ELSE
            SELECT * INTO delta
              FROM change_flags(box_id, box.keywords, fresh, runs[begins : begins + counts[i] - 1], kept[i], added[i],
                                changes[i], words[i], unchanged[i], keywords_max, message_keywords_max);
            changed := changed OR delta.n > 0;
            box.unseen := box.unseen + delta.unseen;
            box.deleted := box.deleted + delta.deleted;
            box.deleted_size := box.deleted_size + delta.deleted_size;
            box.keywords := CASE WHEN delta.n > 0 THEN delta.spelled ELSE box.keywords END;
            uids_octets := delta.uids_octets;
            flags_octets := delta.flags_octets;
            modseqs_octets := delta.modseqs_octets;
            keywords := delta.keywords;
            refused := delta.refused;
        END IF;
        begins := begins + counts[i];
        IF changed THEN
            box.modseq := fresh;
        END IF;
        highest_modseq := box.modseq;
        RETURN NEXT;
        IF i = last OR boxes[i + 1] <> box_id THEN
            IF box.modseq > first THEN
                UPDATE mailboxes SET highest_modseq = box.modseq, changed_modseq = box.modseq, unseen = box.unseen,
                       deleted = box.deleted, deleted_size = box.deleted_size, keywords = box.keywords
                 WHERE id = box_id;
                told_boxes := told_boxes || box_id;
                told_modseqs := told_modseqs || box.modseq::bigint;
            END IF;
            box_id := NULL;
        END IF;
    END LOOP;
    PERFORM announce(told_boxes, told_modseqs);
END $$;
COMMENT ON FUNCTION store_flags IS
    'Apply STOREs in their order: one change each element; runs: first and last UID of the runs of all changes in a row, '
    'counts how many of them belong to each; calls which of them are one operation; boxes ascending.';
