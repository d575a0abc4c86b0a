"""The game: players act one after the other as a list of moves says, and the model says what must come of it.

A move is a word and three numbers, whatever they are: each is taken modulo what there is to choose from. A list of
moves is therefore all that is needed to play a game again, and any part of one is a game too.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from tests.model.account import DELETED, SEEN, Account, Box
from tests.model.memory import Memory
from tests.model.memory import numbers as numbers_of
from tests.model.player import Answer, Gone, Mistake, Player

NAMES = ("INBOX", "A", "B", "A/C", "B/D")
FLAGS = (SEEN, DELETED, "\\Flagged", "Word")
PLAYERS = 3
RESYNCS = 1
"""The player that keeps what it knows and resynchronises by QRESYNC."""
LETTERS_MAX = 40
Move = tuple[str, int, int, int]
Play = Callable[["Game", Player, int, int], Awaitable[None]]


class World(Protocol):
    """Where the game is played."""

    async def connect(self, number: int) -> Any:
        """Return a connection for a player, to one of the workers."""

    async def restart(self, number: int) -> None:
        """Stop a worker and start another one in its place."""

    def harm(self, how: int) -> None:
        """Make the next change in the store fail, in one of several ways."""

    def harmed(self) -> bool:
        """Tell whether the harm was done since the last question; none waits any more."""

    async def look(self) -> dict[str, list[tuple[int, int, frozenset[str]]]]:
        """Return everything there is, as `Account.plain` does."""

    async def findings(self) -> list[Any]:
        """Return what contradicts itself in the store."""


def letter(number: int) -> bytes:
    """Write the letter with a number."""
    return f"From: bob@example.net\r\nSubject: letter {number}.\r\n\r\nThis is {number}.\r\n".encode()


class Game:
    """Several players, one user, and what they should see."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.model = Account()
        self.players: list[Player] = []
        self.last = 0
        """The letter written last."""
        self.validities: dict[int, Box] = {}
        """Whose UIDVALIDITY was told."""
        self.memories: dict[int, Memory] = {}
        """What the player that resynchronises knows, by the serials of mailboxes."""

    async def begin(self) -> None:
        """Have everyone sign in."""
        for number in range(PLAYERS):
            self.players.append(await self._join(number))

    async def _join(self, number: int) -> Player:
        memories = self.memories if number == RESYNCS else None
        player = Player(await self.world.connect(number), "abc"[number], memories)
        await player.greet()
        return player

    async def play(self, moves: list[Move]) -> None:
        """Play a list of moves, and look at everything at the end."""
        for word, who, one, two in moves:
            player = self.players[who % PLAYERS]
            try:
                if None in player.told:
                    await player.learn()
                await PLAYS[word](self, player, one, two)
                # Whoever hung up has been replaced.
                player = self.players[who % PLAYERS]
                if player.box is not None:
                    await player.learn()
            except Gone as gone:
                raise Mistake(f"{player.name} was sent away: {gone}\n" + "\n".join(player.log[-20:])) from None
        await self.rest()

    async def rest(self) -> None:
        """At rest every player sees exactly what there is."""
        truth = await self.world.look()
        if truth != self.model.plain():
            raise Mistake(f"there is {truth}\nand there should be {self.model.plain()}")
        for player in self.players:
            await self.agree(player)
        found = await self.world.findings()
        if found:
            raise Mistake(f"the store contradicts itself: {found}")

    async def agree(self, player: Player) -> None:
        """After NOOP a player knows exactly what is in the mailbox."""
        answer = await player.do("NOOP")
        player.check(answer.status == "OK", "NOOP was refused")
        if player.box is not None:
            flags = await player.learn()
            player.check(player.told == list(player.box.letters), f"there are {list(player.box.letters)}")
            for uid, kept in player.box.letters.items():
                player.check(flags[uid] == kept.flags, f"UID {uid} has {kept.flags}")

    # ------------------------------------------------------------ what moves are made of

    def name(self, number: int) -> str:
        """Choose a name, of a mailbox or of none yet."""
        return NAMES[number % len(NAMES)]

    def some(self, player: Player, one: int, two: int) -> tuple[str, list[int]]:
        """Choose a range of numbers that the player knows; returns it and the UIDs that still are there."""
        if not player.told or player.box is None:
            return "", []
        first = one % len(player.told) + 1
        last = min(len(player.told), first + two % 4)
        uids = [uid for uid in player.told[first - 1 : last] if uid is not None]
        return f"{first}:{last}", [uid for uid in uids if uid in player.box.letters]

    async def change(
        self,
        player: Player,
        command: str,
        apply: Callable[[], bool],
        *,
        literal: bytes | None = None,
        may: bool = False,
    ) -> Answer | None:
        """Carry out a command that changes something, and the same in the model; returns the answer if it was OK.

        `apply` says whether the change is allowed. With `may` a NO is no mistake. What was harmed on its way may
        have been done or not, as a whole.
        """
        before = self.model.plain()
        answer = await player.do(command, literal)
        harmed = self.world.harmed()
        if answer.status == "OK":
            player.check(apply(), "OK, though it cannot be")
            return answer
        player.check(answer.status == "NO", "neither OK nor NO")
        if harmed:
            truth = await self.world.look()
            if truth != before:
                apply()
                player.check(truth == self.model.plain(), f"half done: there is {truth}, and was {before}")
        elif not may:
            saved = self.model.plain()
            player.check(not apply(), "NO, though it should be")
            player.check(saved == self.model.plain(), "the model changed")
        return None

    async def all_gone(self, box: Box) -> None:
        """Have everyone leave a mailbox that was deleted: they are told BYE at their next command."""
        for number, player in enumerate(self.players):
            if player.box is box:
                await self._sent_away(player)
                self.players[number] = await self._join(number)

    async def _sent_away(self, player: Player) -> None:
        try:
            await player.do("NOOP")
        except Gone:
            return
        player.check(condition=False, why="its mailbox was deleted, and it was not told")


# ---------------------------------------------------------------- moves


async def append(game: Game, player: Player, one: int, two: int) -> None:
    """Add a letter to some mailbox, with flags."""
    name = game.name(one)
    if name in game.model.boxes and len(game.model.boxes[name].letters) >= LETTERS_MAX:
        return
    game.last += 1
    flags = {flag for bit, flag in enumerate(FLAGS) if two >> bit & 1}
    uids: list[int] = []

    def apply() -> bool:
        box = game.model.boxes.get(name)
        uids.append(box.add(game.last, flags) if box is not None else 0)
        return box is not None

    command = f'APPEND "{name}" ({" ".join(sorted(flags))})'
    answer = await game.change(player, command, apply, literal=letter(game.last))
    if answer is not None:
        player.check(answer.code.split()[0] == "APPENDUID", "no APPENDUID")
        player.check(int(answer.code.split()[2]) == uids[0], f"the UID is {uids[0]}")


async def noop(game: Game, player: Player, one: int, two: int) -> None:
    """Ask for news, and know all of it."""
    await game.agree(player)


async def fetch(game: Game, player: Player, one: int, two: int) -> None:
    """Read letters, which marks them as seen unless the mailbox is open read-only."""
    numbers, uids = game.some(player, one, two)
    if not numbers or player.box is None:
        return
    seen = two % 2 == 0
    before = game.model.plain()
    answer = await player.do(f"FETCH {numbers} (UID {'BODY[]' if seen else 'BODY.PEEK[]'})")
    if game.world.harmed():
        truth = await game.world.look()
        for uid in uids if truth != before else ():
            player.box.letters[uid].flags.add(SEEN)
        return
    lines = {int(found[1]): line for line in answer.untagged if (found := re.search(rb"UID (\d+) BODY", line))}
    for uid in uids:
        text = letter(player.box.letters[uid].number)
        player.check(lines.get(uid, b"").rstrip(b")").find(text) > 0, f"UID {uid} does not read {text!r}")
        if seen and not player.read_only:
            player.box.letters[uid].flags.add(SEEN)


async def store(game: Game, player: Player, one: int, two: int) -> None:
    """Change flags by numbers or UIDs, silently or not."""
    numbers, uids = game.some(player, one, two)
    box = player.box
    if not numbers or box is None:
        return
    flag, sign = FLAGS[two // 4 % 4], ("+", "-", "")[one % 3]
    silent = ".SILENT" if two & 64 else ""
    by_uid = bool(two & 128) and bool(uids)
    where = f"UID STORE {','.join(map(str, uids))}" if by_uid else f"STORE {numbers}"

    def apply() -> bool:
        for uid in uids:
            flags = box.letters[uid].flags
            box.letters[uid].flags = {"+": flags | {flag}, "-": flags - {flag}, "": {flag}}[sign]
        return not player.read_only

    before = {uid: set(box.letters[uid].flags) for uid in uids}
    answer = await game.change(player, f"{where} {sign}FLAGS{silent} ({flag})", apply, may=player.read_only)
    if answer is not None and silent:
        believe(player, answer, flag, sign)
    if player.read_only:
        for uid, flags in before.items():
            box.letters[uid].flags = flags
    if answer is not None and by_uid and not silent:
        told = answer.fetched()
        player.check(all(told.get(uid) == box.letters[uid].flags for uid in uids), "other flags were told")


def believe(player: Player, answer: Answer, flag: str, sign: str) -> None:
    """Take in the own change of those messages of which nothing but the modseq came back."""
    for line in answer.untagged:
        uid = re.match(rb"\* \d+ FETCH \(UID (\d+) MODSEQ \(\d+\)\)", line)
        if uid is not None and player.memory is not None:
            flags = player.memory.flags[int(uid[1])]
            player.memory.flags[int(uid[1])] = {"+": flags | {flag}, "-": flags - {flag}, "": {flag}}[sign]


async def store_if(game: Game, player: Player, one: int, two: int) -> None:
    """Change flags on condition that nobody did since a modseq (RFC 7162 3.1.3)."""
    await game.agree(player)
    named, uids = game.some(player, one, two)
    box = player.box
    if not named or box is None or player.read_only:
        return
    asked = await player.do("FETCH 1:* (UID MODSEQ)")
    found = [re.search(rb"UID (\d+) MODSEQ \((\d+)\)", line) for line in asked.untagged]
    modseqs = {int(pair[1]): int(pair[2]) for pair in found if pair is not None}
    player.check(modseqs.keys() == box.letters.keys(), "not every modseq was told")
    since = sorted(modseqs.values())[one // 4 % len(modseqs)]
    refused = [uid for uid in uids if modseqs[uid] > since]
    flag, by_uid = FLAGS[two // 4 % 4], bool(two & 128)
    where = f"UID STORE {','.join(map(str, uids))}" if by_uid else f"STORE {named}"

    def apply() -> bool:
        for uid in uids:
            if uid not in refused:
                box.letters[uid].flags = box.letters[uid].flags | {flag}
        return True

    answer = await game.change(player, f"{where} (UNCHANGEDSINCE {since}) +FLAGS.SILENT ({flag})", apply)
    if answer is not None:
        believe(player, answer, flag, "+")
        told = numbers_of(answer.code.split()[1]) if answer.code.startswith("MODIFIED") else []
        expected = refused if by_uid else [player.told.index(uid) + 1 for uid in refused]
        player.check(told == expected, f"MODIFIED should be {expected}")


async def expunge(game: Game, player: Player, one: int, two: int) -> None:
    """Remove what is marked, all or of some UIDs."""
    box = player.box
    if box is None:
        return
    _, uids = game.some(player, one, two)
    chosen = uids if two % 2 and uids else None
    command = "EXPUNGE" if chosen is None else f"UID EXPUNGE {','.join(map(str, chosen))}"

    def apply() -> bool:
        if not player.read_only:
            box.expunge(chosen)
        return not player.read_only

    await game.change(player, command, apply)


async def transfer(game: Game, player: Player, one: int, two: int) -> None:
    """Copy or move letters to some mailbox, also to where they are."""
    numbers, uids = game.some(player, one, two)
    box, name = player.box, game.name(two // 8)
    if not numbers or box is None:
        return
    if name in game.model.boxes and len(game.model.boxes[name].letters) >= LETTERS_MAX:
        return
    moving = bool(two & 4)
    by_uid = bool(one & 64) and bool(uids)
    pairs: list[tuple[int, int]] = []
    verb = "MOVE" if moving else "COPY"
    where = f"UID {verb} {','.join(map(str, uids))}" if by_uid else f"{verb} {numbers}"

    def apply() -> bool:
        target = game.model.boxes.get(name)
        if not uids:
            return True
        if target is None or (moving and player.read_only):
            return False
        pairs.extend(target.take(box, uids, moving=moving))
        return True

    answer = await game.change(player, f'{where} "{name}"', apply, may=not uids)
    if answer is not None and pairs:
        codes = [answer.code, *(line.decode() for line in answer.untagged if b"COPYUID" in line)]
        code = next((code for code in codes if "COPYUID" in code), "")
        told = re.search(r"COPYUID \d+ ([\d:,]+) ([\d:,]+)", code)
        player.check(told is not None, "no COPYUID")
        if told is not None:
            player.check(
                list(zip(numbers_of(told[1]), numbers_of(told[2]), strict=True)) == pairs, f"COPYUID should be {pairs}"
            )


async def search(game: Game, player: Player, one: int, two: int) -> None:
    """Look for something, knowing all there is."""
    box = player.box
    if box is None:
        return
    await game.agree(player)
    flag, number, uid = FLAGS[one % 4], two % max(1, game.last) + 1, one % box.next_uid + 1
    key = f"KEYWORD {flag}" if flag == "Word" else flag[1:].upper()
    criteria: list[tuple[str, Callable[[int], bool]]] = [
        (key, lambda u: flag in box.letters[u].flags),
        (f"NOT {key}", lambda u: flag not in box.letters[u].flags),
        (f'SUBJECT "letter {number}."', lambda u: box.letters[u].number == number),
        (f'OR TEXT "this is {number}." UID {uid}:*', lambda u: box.letters[u].number == number or u >= least),
        (f"UID {uid}", lambda u: u == uid),
    ]
    least = min(uid, max(box.letters, default=uid))
    text, holds = criteria[two % len(criteria)]
    answer = await player.do(f"UID SEARCH {text}")
    player.check(answer.status == "OK", "SEARCH was refused")
    (line,) = (line for line in answer.untagged if line.startswith(b"* SEARCH"))
    expected = [u for u in box.letters if holds(u)]
    player.check([int(word) for word in line.split()[2:]] == expected, f"{expected} should be found")


async def status(game: Game, player: Player, one: int, two: int) -> None:
    """Ask for the numbers of some mailbox."""
    name = game.name(one)
    box = game.model.boxes.get(name)
    answer = await player.do(f'STATUS "{name}" (MESSAGES UIDNEXT UNSEEN)')
    player.check((answer.status == "OK") == (box is not None), "there is one" if box is not None else "there is none")
    if box is not None:
        unseen = sum(SEEN not in one.flags for one in box.letters.values())
        wanted = f"(MESSAGES {len(box.letters)} UIDNEXT {box.next_uid} UNSEEN {unseen})"
        player.check(any(wanted.encode() in line for line in answer.untagged), f"it is {wanted}")


async def select(game: Game, player: Player, one: int, two: int) -> None:
    """Open some mailbox; whatever was open is left."""
    name = game.name(one)
    player.forget()
    box = game.model.boxes.get(name)
    verb, parameter, asked = "EXAMINE" if two % 4 == 0 else "SELECT", "", set[int]()
    if player.memories is not None and box is not None:
        player.memory = player.memories.setdefault(box.serial, Memory())
        if player.memory.modseq:
            parameter, asked = player.memory.parameter(two // 4)
    answer = await player.do(f'{verb} "{name}" {parameter}'.rstrip())
    player.check((answer.status == "OK") == (box is not None), "there is one" if box is not None else "there is none")
    if box is None:
        player.forget()
        return
    player.box, player.read_only = box, two % 4 == 0
    if player.memory is not None:
        resynchronized(player, player.memory, box, asked)
    player.check(len(player.told) == len(box.letters), f"there are {len(box.letters)}")
    told = b"\n".join(answer.untagged).decode()
    validity = re.search(r"\[UIDVALIDITY (\d+)\]", told)
    player.check(f"[UIDNEXT {box.next_uid}]" in told, f"UIDNEXT is {box.next_uid}")
    player.check(validity is not None, "no UIDVALIDITY")
    number = int(validity[1]) if validity is not None else 0
    player.check(game.validities.setdefault(number, box) is box, "the UIDVALIDITY of another mailbox")
    player.check(box.validity in (None, number), f"UIDVALIDITY was {box.validity}")
    if box.validity is None and any(other.serial > box.serial for other in game.validities.values()):
        later = min(number for number, other in game.validities.items() if other.serial > box.serial)
        player.check(number < later, "a UIDVALIDITY greater than that of a mailbox made later")
    box.validity = number
    if player.memory is not None:
        player.memory.validity = number


def resynchronized(player: Player, memory: Memory, box: Box, asked: set[int]) -> None:
    """After QRESYNC a client knows exactly what became of the messages that it asked about (V6)."""
    for uid in asked:
        there = box.letters.get(uid)
        told = memory.flags.get(uid)
        player.check((there is None) == (told is None), f"UID {uid} is {'gone' if there is None else 'there'}")
        player.check(there is None or told == there.flags, f"UID {uid} has {there.flags if there else ''}")
    # What it did not ask about it must find out by itself.
    for uid in memory.flags.keys() - asked:
        if uid not in box.letters or memory.flags[uid] != box.letters[uid].flags:
            del memory.flags[uid]


async def leave(game: Game, player: Player, one: int, two: int) -> None:
    """Close or unselect."""
    box = player.box
    if box is None:
        return
    if two % 2:
        player.check((await player.do("UNSELECT")).status == "OK", "UNSELECT was refused")
        player.forget()
        return

    def apply() -> bool:
        if not player.read_only:
            box.expunge()
        return True

    if await game.change(player, "CLOSE", apply) is not None:
        player.forget()


async def create(game: Game, player: Player, one: int, two: int) -> None:
    """Create some mailbox."""
    await game.change(player, f'CREATE "{game.name(one)}"', lambda: game.model.create(game.name(one)))


async def delete(game: Game, player: Player, one: int, two: int) -> None:
    """Delete some mailbox that nobody has open, or that others have."""
    name = game.name(one)
    box = game.model.boxes.get(name)
    if box is not None and player.box is box:
        return
    await game.change(player, f'DELETE "{name}"', lambda: game.model.delete(name))
    if box is not None and box.gone:
        await game.all_gone(box)


async def rename(game: Game, player: Player, one: int, two: int) -> None:
    """Rename some mailbox."""
    old, new = game.name(one), game.name(two)
    await game.change(player, f'RENAME "{old}" "{new}"', lambda: game.model.rename(old, new))


async def names(game: Game, player: Player, one: int, two: int) -> None:
    """List all mailboxes."""
    answer = await player.do('LIST "" *')
    found = {line.decode().rpartition('"/" ')[2].strip('"') for line in answer.untagged if line.startswith(b"* LIST")}
    player.check(found == set(game.model.boxes), f"there are {sorted(game.model.boxes)}")


async def idle(game: Game, player: Player, one: int, two: int) -> None:
    """Wait while another player adds a letter."""
    other = game.players[(game.players.index(player) + 1 + one % (PLAYERS - 1)) % PLAYERS]
    await player.idle(lambda: append(game, other, one, two))


async def leave_suddenly(game: Game, player: Player, one: int, two: int) -> None:
    """Hang up and come back."""
    number = game.players.index(player)
    await player.hang_up()
    game.players[number] = await game._join(number)


async def restart(game: Game, player: Player, one: int, two: int) -> None:
    """Stop the worker that serves a player; its players come back."""
    number = game.players.index(player)
    for other in [other for other in range(PLAYERS) if other % 2 == number % 2]:
        await game.players[other].hang_up()
    await game.world.restart(number)
    for other in [other for other in range(PLAYERS) if other % 2 == number % 2]:
        game.players[other] = await game._join(other)


async def harm(game: Game, player: Player, one: int, two: int) -> None:
    """Let the next change fail."""
    game.world.harm(one)


PLAYS: dict[str, Play] = {
    "append": append,
    "noop": noop,
    "fetch": fetch,
    "store": store,
    "store if": store_if,
    "expunge": expunge,
    "transfer": transfer,
    "search": search,
    "status": status,
    "select": select,
    "leave": leave,
    "create": create,
    "delete": delete,
    "rename": rename,
    "names": names,
    "idle": idle,
    "leave suddenly": leave_suddenly,
    "restart": restart,
    "harm": harm,
}
OFTEN = (
    "append",
    "append",
    "store",
    "store",
    "store if",
    "transfer",
    "transfer",
    "select",
    "select",
    "expunge",
    "fetch",
    "noop",
)
"""Moves that make mailboxes lively; drawn besides all others."""
