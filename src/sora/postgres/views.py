"""The only place for the statements that views of mailboxes are made and refreshed from.

Each comes in two forms: as the owner sees a mailbox, and as a reader with a \\Seen of his own sees it.
"""

# ruff: noqa: S608  the pieces are constants of this folder

from typing import Final

from sora.postgres.binary import OctetStatement
from sora.postgres.rows import AS_OCTETS, MAILBOX_COLUMNS, PACKED, PRIVATE_COLUMNS

_LEFT: Final = """
       SELECT coalesce(string_agg(uid_octets(uid), '' ORDER BY uid), '') AS octets FROM tombstones
        WHERE mailbox_id = box.id AND modseq > """
_EARLIER: Final = f" CROSS JOIN LATERAL ({_LEFT}%(vanished)s::bigint) AS earlier"
# One statement is one snapshot: the row and the messages are of the same moment. The claim of \Recent is the
# only thing that waits for writers, and only if there is something to claim.
_CLAIMED: Final = """, claimed AS (
    UPDATE mailboxes AS b SET recent_from = b.uid_next, recent = 0
      FROM box WHERE b.id = box.id AND %(claim)s AND b.recent_from < b.uid_next
)"""
_OPENED: Final = f"""
WITH box AS (
    SELECT {{columns}}, b.recent_from, b.forgotten_modseq, b.lost_from, b.lost_to FROM mailboxes AS b
     WHERE b.account_id = %(account)s AND b.name = %(name)s
){_CLAIMED}
SELECT {AS_OCTETS}, packed.*, earlier.octets
  FROM box CROSS JOIN LATERAL (
       SELECT {PACKED} FROM (
              SELECT uid, flags, modseq, keywords FROM {{messages}} ORDER BY uid) AS m) AS packed
{_EARLIER}
"""
OPEN: Final = OctetStatement(_OPENED.format(columns=MAILBOX_COLUMNS, messages="messages WHERE mailbox_id = box.id"))
OPEN_PRIVATE: Final = OctetStatement(
    _OPENED.format(
        columns=PRIVATE_COLUMNS.format(reader="%(reader)s"), messages="messages_as(%(reader)s, box.id, 0, 0)"
    )
)
_CHANGED: Final = f"""
WITH box AS (
    SELECT {{columns}}, b.recent_from, b.forgotten_modseq, b.lost_from, b.lost_to, b.changed_modseq, asked.n,
           lost.it AS whole,
           CASE WHEN lost.it THEN 0 ELSE asked.since END AS since,
           CASE WHEN lost.it THEN least(b.lost_from, asked.since) ELSE asked.since END AS gone_since{{reader}}
      FROM {{asked}}
      JOIN mailboxes AS b ON b.id = asked.mailbox
     CROSS JOIN LATERAL (SELECT asked.since > b.lost_from AND asked.since < b.lost_to
                             OR asked.since < b.forgotten_modseq) AS lost (it)
){{claim}}
SELECT int4send(box.n::integer), {AS_OCTETS}, packed.*, gone.octets,
       CASE WHEN box.whole THEN '\\x01'::bytea ELSE '' END{{more}}
  FROM box CROSS JOIN LATERAL (
       SELECT {PACKED} FROM (
              SELECT uid, flags, modseq, keywords FROM {{messages}} ORDER BY uid) AS m) AS packed
  CROSS JOIN LATERAL ({_LEFT}box.gone_since) AS gone{{earlier}}
"""
_COMMON: Final = {
    "columns": MAILBOX_COLUMNS,
    "reader": "",
    "messages": """messages
               WHERE mailbox_id = box.id AND modseq > box.since AND box.highest_modseq > box.since
                 AND uid >= (SELECT arrivals_from(box.id, box.since, box.changed_modseq))""",
}
_PRIVATE: Final = {
    "columns": PRIVATE_COLUMNS.format(reader="asked.reader"),
    "reader": ", asked.reader",
    "messages": """messages_as(box.reader, box.id, box.since,
                                 (SELECT arrivals_from(box.id, box.since, box.changed_modseq)))
               WHERE box.highest_modseq > box.since""",
}
_TOGETHER: Final = {"claim": "", "more": "", "earlier": ""}
_ALONE: Final = {
    "claim": _CLAIMED,
    "more": ", earlier.octets",
    "earlier": _EARLIER,
}
CHANGES: Final = OctetStatement(
    _CHANGED.format(
        asked="""unnest(%(mailboxes)s::bigint[], %(sinces)s::bigint[])
           WITH ORDINALITY AS asked (mailbox, since, n)""",
        **_COMMON,
        **_TOGETHER,
    )
)
CHANGES_ALONE: Final = OctetStatement(
    _CHANGED.format(
        asked="(VALUES (%(mailbox)s::bigint, %(since)s::bigint, 1)) AS asked (mailbox, since, n)", **_COMMON, **_ALONE
    )
)
CHANGES_PRIVATE: Final = OctetStatement(
    _CHANGED.format(
        asked="""unnest(%(mailboxes)s::bigint[], %(sinces)s::bigint[], %(readers)s::bigint[])
           WITH ORDINALITY AS asked (mailbox, since, reader, n)""",
        **_PRIVATE,
        **_TOGETHER,
    )
)
CHANGES_PRIVATE_ALONE: Final = OctetStatement(
    _CHANGED.format(
        asked="""(VALUES (%(mailbox)s::bigint, %(since)s::bigint, %(reader)s::bigint, 1))
           AS asked (mailbox, since, reader, n)""",
        **_PRIVATE,
        **_ALONE,
    )
)
