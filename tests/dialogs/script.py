"""The language of the dialogs: the only place where a `.txt` file becomes steps.

Lines at the top that begin with `# ` set the scene, for the account named last:

    # account NAME PASSWORD [ALIAS ...]      with an INBOX that is subscribed
    # mailbox NAME [SPECIAL-USE] [subscribed]
    # messages MAILBOX COUNT [FLAG ...]      simple mails "Number 1", "Number 2" ...
    # message MAILBOX [FLAG ...] <<          the mail follows, to a line `>>`
    # delivered MAILBOX [FLAG ...] <<        as `message`, with the trace header before a line `--`
    # next-uid MAILBOX NUMBER                memory only
    # quota [storage=OCTETS] [messages=N] [mailboxes=N]
    # quota-admin                            the account may set quotas
    # setting NAME VALUE ...                 see `Settings` in tests/dialogs/world.py
    # begin STATE                            how each client begins: `authenticated`, `selected NAME` or
                                             `examined NAME` (as the first account); for LMTP `greeted`

`##` is a remark. Then the conversation; several clients are C1, C2 and so on, and connect when first named:

    C: text      the client sends a line; neighbouring C lines leave in one write
    C~ text      the client sends octets as written: Python's escapes, no line end added
    S: text      the server's next line
    S? text      neighbouring S? lines come in any order
    S* text      any untagged lines may come before this one
    S+ n text    n such lines
    S! remark    nothing more has come (memory only)
    X: close     the client hangs up; `X: closed`: the server has closed
    X: deflate   both compress from here on, to `X: plain`
    T: seconds   time passes (memory only)
    M: account mailbox    the newest message there has the lines that follow as `M: line`; before `M* line`
                          any lines may stand
    N: account mailbox n  so many messages are there

`$name` (lower case) binds at first sight and must be equal afterwards, `$*` matches anything, `$#` is a number;
`{{text*count}}` in what a client sends is repetition.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import attrs

from sora.core.quota import Limits

_STEP = re.compile(r"(?P<who>[CSXTMN])(?P<number>\d*)(?P<how>[:~?*+!])(?: (?P<text>.*))?\Z")
_REPEAT = re.compile(r"\{\{(.*?)\*(\d+)\}\}")
_BINDING = re.compile(r"\$(\*|#|[a-z_]+)")


@attrs.define
class Account:
    """An account to make."""

    address: str
    password: str
    aliases: list[str]
    mailboxes: list[tuple[str, str | None, bool]] = attrs.Factory(list)
    """(name, special use, subscribed)"""
    messages: list[tuple[str, list[str], bytes, bytes]] = attrs.Factory(list)
    """(mailbox, flags, trace header, mail)"""
    next_uids: list[tuple[str, int]] = attrs.Factory(list)
    quota: Limits | None = None


@attrs.define
class Step:
    """One line of a conversation."""

    who: str
    client: str
    how: str
    text: str
    line: int


@attrs.define
class Dialog:
    """A file: its scene and its conversation."""

    name: str
    accounts: list[Account]
    settings: dict[str, str]
    begin: tuple[str, ...]
    steps: list[Step]
    quota_admins: list[str] = attrs.Factory(list)

    @property
    def memory_only(self) -> bool:
        """Whether it moves the clock, sets numbers, or listens to silence: what only memory can do."""
        moves = any(step.who == "T" or step.how == "!" for step in self.steps)
        return moves or any(account.next_uids for account in self.accounts)


def simple(number: int) -> bytes:
    """Write the mail of `# messages`."""
    return (
        f"From: Ann <ann@example.com>\r\nTo: Demo <demo@example.org>\r\nSubject: Number {number}\r\n"
        f"Date: Wed, 4 Mar 2026 10:00:00 +0000\r\nMessage-ID: <n{number}@example.com>\r\n\r\n"
        f"This is number {number}.\r\n"
    ).encode()


def read(path: Path) -> Dialog:
    """Read a dialog. Raises `ValueError` with the place of what cannot be understood."""
    dialog = Dialog(path.stem, [], {}, (), [])
    lines = iter(enumerate(path.read_text(encoding="utf-8").splitlines(), 1))
    for number, line in lines:
        if line.startswith("# "):
            block = None
            if line.endswith(" <<"):
                line, block = line[:-3], _block(lines)
            _scene(dialog, line[2:].split(), block)
        elif line.strip() and not line.startswith("##"):
            match = _STEP.match(line)
            if match is None:
                raise ValueError(f"{path.name}:{number}: not understood: {line}")
            dialog.steps.append(Step(match["who"], match["number"], match["how"], match["text"] or "", number))
    return dialog


def _block(lines: Iterator[tuple[int, str]]) -> bytes:
    taken = []
    for _, text in lines:
        if text == ">>":
            return "".join(f"{line}\r\n" for line in taken).encode()
        taken.append(text)
    raise ValueError("a mail does not end with >>")


def _scene(dialog: Dialog, words: list[str], block: bytes | None) -> None:
    match words:
        case ["account", address, password, *aliases]:
            dialog.accounts.append(Account(address, password, aliases))
        case ["mailbox", name, *rest]:
            use = next((word for word in rest if word.startswith("\\")), None)
            dialog.accounts[-1].mailboxes.append((name, use, "subscribed" in rest))
        case ["messages", mailbox, count, *flags]:
            held = dialog.accounts[-1].messages
            first = len(held) + 1
            held += [(mailbox, flags, b"", simple(number)) for number in range(first, first + int(count))]
        case ["message", mailbox, *flags] if block is not None:
            dialog.accounts[-1].messages.append((mailbox, flags, b"", block))
        case ["delivered", mailbox, *flags] if block is not None:
            trace, _, mail = block.partition(b"--\r\n")
            dialog.accounts[-1].messages.append((mailbox, flags, trace, mail))
        case ["next-uid", mailbox, number]:
            dialog.accounts[-1].next_uids.append((mailbox, int(number)))
        case ["quota", *limits]:
            numbers = dict(word.split("=") for word in limits)
            dialog.accounts[-1].quota = Limits(**{name: int(number) for name, number in numbers.items()})
        case ["quota-admin"]:
            dialog.quota_admins.append(dialog.accounts[-1].address)
        case ["setting", name, *values] if values:
            dialog.settings[name] = " ".join(values)
        case ["begin", *state]:
            dialog.begin = tuple(state)
        case _:
            raise ValueError(f"{dialog.name}: no such scene: {' '.join(words)}")


class Bindings:
    """What `$name` stands for, so far."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def sent(self, step: Step) -> bytes:
        """Return the octets a client's step sends."""
        text = _REPEAT.sub(lambda match: match[1] * int(match[2]), step.text)
        text = _BINDING.sub(lambda match: self.values.get(match[1], match[0]), text)
        if step.how == "~":
            return text.encode().decode("unicode_escape").encode("latin-1")
        return text.encode() + b"\r\n"

    def matches(self, pattern: str, line: bytes) -> bool:
        """Tell whether a line is what a step expects; binds names if it is."""
        found = re.fullmatch(self._expression(pattern), line.decode("utf-8", "backslashreplace"))
        if found is not None:
            self.values.update(found.groupdict())
        return found is not None

    def _expression(self, pattern: str) -> str:
        expression, position = "", 0
        names: set[str] = set()
        for match in _BINDING.finditer(pattern):
            expression += re.escape(pattern[position : match.start()])
            position = match.end()
            name = match[1]
            if name == "*":
                expression += ".*"
            elif name == "#":
                expression += "[0-9]+"
            elif name in self.values:
                expression += re.escape(self.values[name])
            elif name in names:
                expression += f"(?P={name})"
            else:
                names.add(name)
                expression += rf'(?P<{name}>[^ ()\[\]"<>]+)'
        return expression + re.escape(pattern[position:])
