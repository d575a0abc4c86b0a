-- compat: 9
-- How much accounts and domains may hold. What they hold is not counted a second time: mailboxes have counters.

CREATE TABLE quotas (
    account_id     bigint PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    storage_max    bigint CHECK (storage_max >= 0),
    messages_max   bigint CHECK (messages_max >= 0),
    mailboxes_max  bigint CHECK (mailboxes_max >= 0)
);
COMMENT ON TABLE quotas IS
    'What an account may hold, in the place of the configured defaults; NULL is no limit of that kind.';

CREATE TABLE domain_quotas (
    domain        text COLLATE "C" PRIMARY KEY,
    storage_max   bigint CHECK (storage_max >= 0),
    messages_max  bigint CHECK (messages_max >= 0),
    storage       bigint NOT NULL DEFAULT 0,
    messages      bigint NOT NULL DEFAULT 0,
    mailboxes     bigint NOT NULL DEFAULT 0,
    counted_at    timestamptz
);
COMMENT ON TABLE domain_quotas IS
    'What all accounts of a domain may hold together, and what they held when they were counted last. No delivery '
    'writes here, so that those of one domain do not wait for each other.';

CREATE INDEX addresses_domain ON addresses (split_part(address, '@', 2)) WHERE is_primary;

CREATE FUNCTION domain_of(account bigint) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT split_part(address, '@', 2) FROM addresses WHERE account_id = account AND is_primary $$;

CREATE FUNCTION quotas_over(
    accounts bigint[], storage_default bigint, messages_default bigint, mailboxes_default bigint
) RETURNS TABLE (account bigint, storage_max bigint, messages_max bigint, mailboxes_max bigint) LANGUAGE sql STABLE AS $$
    SELECT x.id, CASE WHEN q.account_id IS NULL THEN storage_default ELSE q.storage_max END,
           CASE WHEN q.account_id IS NULL THEN messages_default ELSE q.messages_max END,
           CASE WHEN q.account_id IS NULL THEN mailboxes_default ELSE q.mailboxes_max END
      FROM unnest(accounts) AS x (id) LEFT JOIN quotas AS q ON q.account_id = x.id
$$;
COMMENT ON FUNCTION quotas_over IS 'The limits that hold for accounts.';

CREATE FUNCTION quota_room(boxes bigint[], storage_default bigint, messages_default bigint)
RETURNS TABLE (
    account bigint, storage_max bigint, messages_max bigint, storage bigint, messages bigint,
    storage_left bigint, messages_left bigint
) LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    defaults constant boolean := storage_default IS NOT NULL OR messages_default IS NOT NULL;
    domains constant boolean := EXISTS (SELECT FROM domain_quotas);
BEGIN
    IF NOT defaults AND NOT domains AND NOT EXISTS (SELECT FROM quotas) THEN
        RETURN;
    END IF;
    -- Whoever adds to a limited account comes one after the other; the accounts before the mailboxes, as whoever
    -- changes names locks them.
    PERFORM FROM accounts AS x
      WHERE x.id IN (SELECT b.account_id FROM mailboxes AS b WHERE b.id = ANY (boxes))
        AND (defaults OR domains OR EXISTS (SELECT FROM quotas AS q WHERE q.account_id = x.id))
      ORDER BY x.id FOR NO KEY UPDATE;
    RETURN QUERY
    SELECT o.account, o.storage_max, o.messages_max, u.storage, u.messages,
           least(o.storage_max - u.storage, d.storage_max - d.storage),
           least(o.messages_max - u.messages, d.messages_max - d.messages)
      FROM (SELECT k.account_id AS account,
                   CASE WHEN q.account_id IS NULL THEN storage_default ELSE q.storage_max END AS storage_max,
                   CASE WHEN q.account_id IS NULL THEN messages_default ELSE q.messages_max END AS messages_max
              FROM (SELECT DISTINCT b.account_id FROM mailboxes AS b WHERE b.id = ANY (boxes)) AS k
              LEFT JOIN quotas AS q ON q.account_id = k.account_id) AS o
      LEFT JOIN LATERAL (
           SELECT d.* FROM addresses AS a JOIN domain_quotas AS d ON d.domain = split_part(a.address, '@', 2)
            WHERE a.account_id = o.account AND a.is_primary) AS d ON domains
     CROSS JOIN LATERAL (
           SELECT coalesce(sum(b.size), 0)::bigint AS storage, coalesce(sum(b.messages), 0) AS messages
             FROM mailboxes AS b WHERE b.account_id = o.account) AS u
     WHERE o.storage_max IS NOT NULL OR o.messages_max IS NOT NULL OR d.domain IS NOT NULL;
END $$;
COMMENT ON FUNCTION quota_room IS
    'What the accounts of mailboxes may still take, for those that have limits (NULL: no limit of that kind); they are '
    'locked. Nothing, after a look at two empty tables, where nobody has any.';

CREATE FUNCTION quota_admits_mailboxes(box_account bigint, mailboxes_default bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF mailboxes_default IS NULL AND NOT EXISTS (SELECT FROM quotas) THEN
        RETURN;
    END IF;
    IF (SELECT count(*) FROM mailboxes WHERE account_id = box_account)
       > (SELECT o.mailboxes_max FROM quotas_over(ARRAY[box_account], NULL, NULL, mailboxes_default) AS o) THEN
        RAISE EXCEPTION USING ERRCODE = 'SO007', MESSAGE = 'the quota of mailboxes is reached';
    END IF;
END $$;
COMMENT ON FUNCTION quota_admits_mailboxes IS 'Refuse if an account, whose names the caller holds, has too many mailboxes.';

CREATE FUNCTION count_domains(older double precision) RETURNS integer LANGUAGE sql AS $$
    WITH counted AS (
        UPDATE domain_quotas AS d
           SET storage = u.storage, messages = u.messages, mailboxes = u.mailboxes, counted_at = now()
          FROM (SELECT o.domain, coalesce(sum(b.size), 0)::bigint AS storage, coalesce(sum(b.messages), 0) AS messages,
                       count(b.id) AS mailboxes
                  FROM domain_quotas AS o
                  LEFT JOIN addresses AS a ON split_part(a.address, '@', 2) = o.domain AND a.is_primary
                  LEFT JOIN mailboxes AS b ON b.account_id = a.account_id
                 WHERE o.counted_at IS NULL OR o.counted_at < now() - make_interval(secs => older)
                 GROUP BY o.domain) AS u
         WHERE d.domain = u.domain
        RETURNING 1
    )
    SELECT count(*)::integer FROM counted
$$;
COMMENT ON FUNCTION count_domains IS 'Count what domains with a quota hold, those that were not counted for so many seconds.';

CREATE FUNCTION thousandths(storage bigint, storage_max bigint, messages bigint, messages_max bigint)
RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT least(1000, greatest(0, storage * 1000 / nullif(storage_max, 0), messages * 1000 / nullif(messages_max, 0)))::integer
$$;
COMMENT ON FUNCTION thousandths IS 'How full an account is: the fuller of octets and messages.';
