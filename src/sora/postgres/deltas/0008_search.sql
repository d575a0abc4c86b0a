-- compat: 8
-- What searches ask of a trace header.

-- The trace is our own writing: ASCII, but for what a peer called itself. LATIN1 reads any octets.
CREATE FUNCTION trace_text(trace bytea) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT lower(convert_from(trace, 'LATIN1')) $$;

CREATE FUNCTION trace_field(trace bytea, field text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT string_agg(btrim(substr(line, length(field) + 2)), chr(10))
      FROM regexp_split_to_table(regexp_replace(trace_text(trace), '\r\n([ \t])', '\1', 'g'), '\r\n') AS line
     WHERE starts_with(line, field || ':')
$$;
COMMENT ON FUNCTION trace_field IS 'The values of a field of the trace header, unfolded, in small letters; NULL if absent.';
