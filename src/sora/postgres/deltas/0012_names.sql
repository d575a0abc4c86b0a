-- compat: 12
-- Announcements of what is about an account's mailboxes as a whole: their names and its subscriptions.

CREATE FUNCTION announce_names(account bigint) RETURNS void LANGUAGE sql AS $$
    -- PostgreSQL sends equal announcements of one transaction once.
    SELECT pg_notify('sora', '-' || account || ':0')
$$;
COMMENT ON FUNCTION announce_names IS
    'Tell all processes, once committed, that names, subscriptions or access of an account''s mailboxes changed.';

CREATE FUNCTION names_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM announce_names(coalesce(NEW.account_id, OLD.account_id));
    RETURN NULL;
END $$;

CREATE TRIGGER names_changed AFTER INSERT OR DELETE OR UPDATE OF name ON mailboxes
    FOR EACH ROW EXECUTE FUNCTION names_changed();
CREATE TRIGGER names_changed AFTER INSERT OR DELETE ON subscriptions
    FOR EACH ROW EXECUTE FUNCTION names_changed();
