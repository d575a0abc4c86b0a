-- compat: 8
-- What searches ask of a trace header.

-- The trace is our own writing: ASCII, but for what a peer called itself. LATIN1 reads any octets, and small letters
-- are made by the rules of C, which takes a fifth of the time. Lines are unfolded as those of the message's own header
-- are: with one space (RFC 5322 3.2.2).
CREATE FUNCTION trace_text(trace bytea) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT replace(replace(lower(convert_from(trace, 'LATIN1') COLLATE "C"), E'\r\n ', ' '), E'\r\n\t', ' ') $$;

CREATE FUNCTION trace_field(trace bytea, field text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT string_agg(btrim(substr(line, length(field) + 2)), chr(10))
      FROM string_to_table(trace_text(trace), E'\r\n') AS line
     WHERE starts_with(line, field || ':')
$$;
COMMENT ON FUNCTION trace_field IS 'The values of a field of the trace header, unfolded, in small letters; NULL if absent.';
