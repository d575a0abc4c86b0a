"""Holds a dialog with a server: the only place that compares what was said with what is written."""

from typing import Protocol

from twisted.trial.unittest import FailTest

from tests.dialogs.connections import Coding
from tests.dialogs.script import Bindings, Dialog, Step


class Client(Protocol):
    """One connection of a client, over memory or over TCP."""

    coding: Coding

    async def send(self, data: bytes) -> None:
        """Send octets in one write."""

    async def line(self) -> bytes | None:
        """Return the server's next line without its end; None if none comes."""

    async def closed(self) -> bool:
        """Tell whether the server has closed, waiting for it if need be."""

    async def hang_up(self) -> None:
        """Close the client's side."""

    def rest(self) -> bytes:
        """Return what has come and was not read."""


class World(Protocol):
    """The server of a dialog and what lies behind it."""

    async def connect(self) -> Client:
        """Connect a client."""

    def advance(self, seconds: float) -> None:
        """Let time pass."""

    async def newest(self, account: str, mailbox: str) -> bytes:
        """Return the newest message of a mailbox, with its trace header."""

    async def count(self, account: str, mailbox: str) -> int:
        """Return how many messages a mailbox has."""


class Differs(FailTest):
    """The server said something else."""


class Run:
    """One dialog being held."""

    def __init__(self, dialog: Dialog, world: World) -> None:
        self._dialog = dialog
        self._world = world
        self._bindings = Bindings()
        self._clients: dict[str, Client] = {}
        self._said: list[str] = []

    async def hold(self) -> None:
        """Go through all steps. Raises `Differs`."""
        steps = self._dialog.steps
        at = 0
        while at < len(steps):
            group = [steps[at]]
            while at + len(group) < len(steps) and _together(group[0], steps[at + len(group)]):
                group.append(steps[at + len(group)])
            await self._take(group)
            at += len(group)
        for client in self._clients.values():
            if client.rest():
                raise self._differs(steps[-1], f"the server also said {client.rest()!r}")

    async def hang_up(self) -> None:
        """Close what is still open."""
        for client in self._clients.values():
            await client.hang_up()

    # ------------------------------------------------------------ steps

    async def _take(self, group: list[Step]) -> None:
        step = group[0]
        match step.who:
            case "T":
                self._world.advance(float(step.text))
            case "M":
                await self._message(group)
            case "N":
                account, mailbox, count = step.text.split()
                found = await self._world.count(account, mailbox)
                if found != int(count):
                    raise self._differs(step, f"there are {found} messages")
            case _:
                await self._say_or_hear(await self._client(step), group)

    async def _say_or_hear(self, client: Client, group: list[Step]) -> None:
        step = group[0]
        match step.who + step.how:
            case "C:" | "C~":
                data = b"".join(self._bindings.sent(one) for one in group)
                self._said.append(f"C{step.client}: {data[:300]!r}")
                await client.send(data)
            case "X:" if step.text == "close":
                await client.hang_up()
            case "X:" if step.text == "deflate":
                client.coding.begin()
            case "X:" if step.text == "plain":
                client.coding.end()
            case "X:":
                if not await client.closed():
                    raise self._differs(step, "the connection is still open")
            case "S!":
                if client.rest():
                    raise self._differs(step, f"the server said {client.rest()!r}")
            case "S?":
                await self._any_order(client, group)
            case "S+":
                times, _, pattern = step.text.partition(" ")
                for _ in range(int(times)):
                    await self._expect(client, step, pattern)
            case _:
                await self._expect(client, step, step.text)

    async def _client(self, step: Step) -> Client:
        if step.client not in self._clients:
            client = self._clients[step.client] = await self._world.connect()
            await self._begin(client, step)
        return self._clients[step.client]

    async def _begin(self, client: Client, step: Step) -> None:
        """Bring a new client to the state in which the dialog begins."""
        match self._dialog.begin:
            case ():
                return
            case ("greeted",):
                await self._heard(client, step)
                await client.send(b"LHLO client.example.com\r\n")
                while not (await self._heard(client, step)).startswith(b"250 "):
                    pass
                return
            case (_, *mailbox):
                account = self._dialog.accounts[0]
                await self._heard(client, step)
                await client.send(f"begin1 LOGIN {account.address} {account.password}\r\n".encode())
                await self._until_tagged(client, step, b"begin1")
                if mailbox:
                    verb = "SELECT" if self._dialog.begin[0] == "selected" else "EXAMINE"
                    await client.send(f"begin2 {verb} {mailbox[0]}\r\n".encode())
                    await self._until_tagged(client, step, b"begin2")

    async def _until_tagged(self, client: Client, step: Step, tag: bytes) -> None:
        line = b""
        while not line.startswith(tag):
            line = await self._heard(client, step)
        if not line.startswith(tag + b" OK"):
            raise self._differs(step, "the beginning failed")

    async def _heard(self, client: Client, step: Step) -> bytes:
        line = await client.line()
        if line is None:
            raise self._differs(step, f"nothing came but {client.rest()!r}")
        self._said.append(f"S{step.client}: {line[:300].decode('utf-8', 'backslashreplace')}")
        return line

    async def _expect(self, client: Client, step: Step, pattern: str) -> None:
        line = await self._heard(client, step)
        while not self._bindings.matches(pattern, line):
            if step.how != "*" or not line.startswith(b"*"):
                raise self._differs(step, "the last line differs")
            line = await self._heard(client, step)

    async def _any_order(self, client: Client, group: list[Step]) -> None:
        expected = list(group)
        while expected:
            line = await self._heard(client, expected[0])
            for step in expected:
                if self._bindings.matches(step.text, line):
                    expected.remove(step)
                    break
            else:
                raise self._differs(expected[0], "the last line is none of these")

    async def _message(self, group: list[Step]) -> None:
        account, mailbox = group[0].text.split()
        message = await self._world.newest(account, mailbox)
        lines = message.split(b"\r\n")
        if lines[-1] == b"":
            lines.pop()
        for step in group[1:]:
            while lines and not self._bindings.matches(step.text, lines[0]) and step.how == "*":
                del lines[0]
            if not lines or not self._bindings.matches(step.text, lines[0]):
                raise self._differs(step, f"the message is {message!r}")
            del lines[0]
        if lines:
            raise self._differs(group[-1], f"the message goes on with {lines!r}")

    def _differs(self, step: Step, why: str) -> Differs:
        said = "\n".join(self._said[-25:])
        return Differs(f"{self._dialog.name}.txt:{step.line}: {why}\nexpected: {step.text}\nsaid so far:\n{said}")


def _together(first: Step, other: Step) -> bool:
    if (first.who, first.client) != (other.who, other.client):
        return False
    return first.who in "CM" or (first.who == "S" and first.how == "?" and other.how == "?")
