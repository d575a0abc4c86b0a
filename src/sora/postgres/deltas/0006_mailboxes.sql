-- compat: 6
-- How mailboxes change, and what changed in one.

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
    account bigint, new_name text, use text, subscribed boolean, mailboxes_max integer, mailboxes_default bigint DEFAULT NULL
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    made bigint;
BEGIN
    PERFORM lock_mailboxes_of(account);
    IF EXISTS (SELECT FROM mailboxes WHERE account_id = account AND name = new_name) THEN
        RAISE EXCEPTION USING ERRCODE = 'SO002', MESSAGE = 'the mailbox exists';
    END IF;
    IF EXISTS (SELECT FROM mailboxes WHERE account_id = account AND special_use = use) THEN
        RAISE EXCEPTION USING ERRCODE = 'SO011', MESSAGE = 'another mailbox has this special use';
    END IF;
    INSERT INTO mailboxes (account_id, name) SELECT account, p FROM parents_of(new_name) AS p
        ON CONFLICT (account_id, name) DO NOTHING;
    INSERT INTO mailboxes (account_id, name, special_use) VALUES (account, new_name, use) RETURNING id INTO made;
    IF (SELECT count(*) FROM mailboxes WHERE account_id = account) > mailboxes_max THEN
        RAISE EXCEPTION USING ERRCODE = 'SO006', MESSAGE = 'too many mailboxes';
    END IF;
    PERFORM quota_admits_mailboxes(account, mailboxes_default);
    IF subscribed THEN
        INSERT INTO subscriptions (account_id, name) VALUES (account, new_name) ON CONFLICT DO NOTHING;
    END IF;
    RETURN made;
END $$;

CREATE FUNCTION mailbox_now(box_id bigint) RETURNS SETOF mailboxes LANGUAGE plpgsql AS
$$ BEGIN RETURN QUERY SELECT * FROM mailboxes WHERE id = box_id; END $$;
COMMENT ON FUNCTION mailbox_now IS 'A mailbox as the very statement that calls this has made it.';

CREATE FUNCTION set_special_use(box_id bigint, use text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    account bigint;
BEGIN
    SELECT account_id INTO account FROM mailboxes WHERE id = box_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'SO001', MESSAGE = 'the mailbox was deleted';
    END IF;
    PERFORM lock_mailboxes_of(account);
    IF EXISTS (SELECT FROM mailboxes WHERE account_id = account AND special_use = use AND id <> box_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'SO011', MESSAGE = 'another mailbox has this special use';
    END IF;
    UPDATE mailboxes SET special_use = use WHERE id = box_id;
    PERFORM announce_names(account);
END $$;
COMMENT ON FUNCTION set_special_use IS 'Give a mailbox a special use, or take it away (NULL).';

CREATE FUNCTION furnish_account(
    account bigint, names text[], uses text[], subscribed boolean[], mailboxes_default bigint DEFAULT NULL
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lock_mailboxes_of(account);
    IF EXISTS (SELECT FROM mailboxes WHERE account_id = account AND name <> 'INBOX') THEN
        RETURN;
    END IF;
    INSERT INTO mailboxes (account_id, name, special_use)
    SELECT account, u.name, u.use FROM unnest(names, uses) WITH ORDINALITY AS u (name, use, n) ORDER BY u.n
        ON CONFLICT (account_id, name) DO NOTHING;
    PERFORM quota_admits_mailboxes(account, mailboxes_default);
    INSERT INTO subscriptions (account_id, name)
    SELECT account, u.name FROM unnest(names, subscribed) AS u (name, wanted) WHERE u.wanted
        ON CONFLICT DO NOTHING;
END $$;
COMMENT ON FUNCTION furnish_account IS 'Give an account that has nothing but INBOX its first mailboxes.';

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
    PERFORM bury(box.id, account, places_of(box.id, NULL), box.highest_modseq + 1, 'delete', who_account, who_address, protocol, session);
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
    -- RFC 5464 4.1: INBOX keeps its annotations, and the new mailbox has them too.
    INSERT INTO annotations (mailbox_id, account_id, entry, value)
        SELECT target, a.account_id, a.entry, a.value FROM annotations AS a WHERE a.mailbox_id = inbox;
END $$;
