-- compat: 2
-- What the other functions are made of: columns as octets, announcements, keywords and flags.
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
