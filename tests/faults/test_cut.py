"""The proxy does to connections what it is told, where it is told, and nothing else."""

from typing import Any

import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.trial import unittest

from sora import aio
from tests.faults.cut import HARMFUL, HOST, Act, Cut, Messages, Side, Strike, Weather
from tests.integration.database import DatabaseTests, server

SENT = bytes(range(256)) * 8


class Collector(Protocol):
    """Collects what comes; the server's kind sends it back."""

    def __init__(self, *, echo: bool = False) -> None:
        self.data = b""
        self.ended: aio.Once[None] = aio.Once()
        self._echo = echo
        self._wanted: tuple[int, aio.Once[None]] | None = None

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        if self._echo:
            self.transport.write(data)
        if self._wanted is not None and len(self.data) >= self._wanted[0]:
            wanted, self._wanted = self._wanted, None
            wanted[1].fire(None)

    def connectionLost(self, reason: object = None) -> None:
        self.ended.fire(None)

    async def octets(self, count: int) -> bytes:
        """Wait until so many have come."""
        if len(self.data) < count:
            self._wanted = (count, aio.Once())
            await self._wanted[1].wait()
        return self.data


class OctetTests(unittest.TestCase):
    """Before a server that sends back what it gets."""

    timeout = 20

    async def proxy(self, **options: Any) -> tuple[Cut, Collector]:
        """Return a proxy and a client that is connected through it."""
        factory: Any = Factory.forProtocol(lambda: Collector(echo=True))
        factory.noisy = False
        port = reactor.listenTCP(0, factory, interface=HOST)  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        cut = Cut(reactor, (HOST, port.getHost().port), **options)
        cut.start()
        self.addCleanup(cut.stop)
        return cut, await self.client(cut)

    async def client(self, cut: Cut) -> Collector:
        """Connect one more client."""
        client = Collector()
        await TCP4ClientEndpoint(reactor, HOST, cut.port).connect(Factory.forProtocol(lambda: client))
        return client

    async def met(self, strike: Strike) -> tuple[bytes, bool]:
        """Send through one strike; return what came back within a moment, and whether the connection has ended."""
        cut, first = await self.proxy()
        first.transport.loseConnection()
        cut.add(strike)
        client = await self.client(cut)
        client.transport.write(SENT)
        await strike.struck.wait()
        await aio.sleep(reactor, 0.05)  # type: ignore[arg-type]
        return client.data, client.ended.done

    async def test_without_a_strike_everything_passes_and_ends(self) -> None:
        cut, client = await self.proxy()
        client.transport.write(SENT)
        self.assertEqual(await client.octets(len(SENT)), SENT)
        client.transport.loseConnection()
        await client.ended.wait()
        while cut.pipes:
            await aio.sleep(reactor, 0.01)  # type: ignore[arg-type]

    async def test_cut_ends_both_connections_at_the_octet(self) -> None:
        data, ended = await self.met(Strike(Act.CUT, Side.ANSWERED, at=1000))
        self.assertTrue(ended)
        self.assertEqual(data, SENT[: len(data)])
        self.assertLessEqual(len(data), 1000)

    async def test_what_is_cut_on_its_way_never_arrives(self) -> None:
        data, ended = await self.met(Strike(Act.CUT, Side.ASKED, at=0))
        self.assertEqual((data, ended), (b"", True))

    async def test_truncate_lets_a_part_pass(self) -> None:
        strike = Strike(Act.TRUNCATE, Side.ASKED, at=1000)
        data, ended = await self.met(strike)
        self.assertTrue(ended)
        self.assertEqual(data, SENT[: len(data)])

    async def test_stall_keeps_back_from_the_octet_on_until_it_is_released(self) -> None:
        strike = Strike(Act.STALL, Side.ANSWERED, at=700)
        cut, _ = await self.proxy()
        cut.add(strike)
        client = await self.client(cut)
        client.transport.write(SENT)
        await strike.struck.wait()
        self.assertEqual(await client.octets(700), SENT[:700])
        await aio.sleep(reactor, 0.05)  # type: ignore[arg-type]
        self.assertEqual(len(client.data), 700)
        strike.release()
        self.assertEqual(await client.octets(len(SENT)), SENT)

    async def test_delay_releases_by_itself(self) -> None:
        cut, _ = await self.proxy()
        cut.add(Strike(Act.DELAY, Side.ASKED, at=10, seconds=0.05))
        client = await self.client(cut)
        client.transport.write(SENT)
        self.assertEqual(await client.octets(len(SENT)), SENT)

    async def test_corrupt_turns_one_bit(self) -> None:
        data, ended = await self.met(Strike(Act.CORRUPT, Side.ASKED, at=0))
        different = [n for n, (sent, got) in enumerate(zip(SENT, data, strict=True)) if sent != got]
        self.assertEqual((len(different), ended), (1, False))

    async def test_a_server_that_is_away_resets_whoever_comes(self) -> None:
        cut, client = await self.proxy()
        cut.away = True
        cut.sever()
        await client.ended.wait()
        other = await self.client(cut)
        await other.ended.wait()
        cut.away = False
        again = await self.client(cut)
        again.transport.write(b"back")
        self.assertEqual(await again.octets(4), b"back")

    def test_weather_is_the_same_again_from_the_same_seed(self) -> None:
        def drawn(seed: int) -> list[Any]:
            weather = Weather(seed, 0.5)
            return [[(s.act, s.side, s.at) for s in weather(number)] for number in range(200)]

        self.assertEqual(drawn(1), drawn(1))
        self.assertNotEqual(drawn(1), drawn(2))
        self.assertEqual({act for strikes in drawn(1) for act, _, _ in strikes}, set(HARMFUL))

    async def test_any_weather_ends_with_the_connection_or_passes_all(self) -> None:
        weather = Weather(7, 1.0, (Act.CUT, Act.TRUNCATE, Act.DELAY), octets=2000)
        cut, first = await self.proxy(weather=weather)
        first.transport.loseConnection()
        for _ in range(20):
            client = await self.client(cut)
            client.transport.write(SENT)
            passed: Deferred[Any] = aio.start(client.octets(len(SENT)))
            await Deferred.fromCoroutine(_either(passed, client.ended))
            self.assertEqual(client.data, SENT[: len(client.data)])
            self.assertEqual(client.ended.done, len(client.data) < len(SENT))
            client.transport.loseConnection()


async def _either(passed: "Deferred[Any]", ended: "aio.Once[None]") -> None:
    first: aio.Once[None] = aio.Once()

    def one(_: object) -> None:
        if not first.done:
            first.fire(None)

    passed.addBoth(one)
    ended.wait().addCallback(one)
    await first.wait()


class MessageTests(DatabaseTests):
    """Before PostgreSQL, with psycopg2's own blocking client."""

    timeout = 60

    async def _set_up(self) -> None:
        await super()._set_up()
        self.sql("CREATE TABLE IF NOT EXISTS cuts (n integer)")
        self.addCleanup(self.sql, "DROP TABLE cuts")
        self.cut = Cut(reactor, f"{server().directory}/.s.PGSQL.5432", framing=Messages)
        self.cut.start()
        self.addCleanup(self.cut.stop)

    def execute(self, *statements: str, sslmode: str = "disable") -> Any:
        """Run statements through the proxy in a thread; returns the rows of the last, or the error."""

        def work() -> Any:
            where = {"host": HOST, "port": self.cut.port, "user": "sora", "dbname": self.settings.name}
            connection = psycopg2.connect(**where, sslmode=sslmode, connect_timeout=5)
            connection.autocommit = True
            try:
                with connection.cursor() as cursor:
                    for statement in statements:
                        cursor.execute(statement)
                    return cursor.fetchall() if cursor.description else []
            except psycopg2.OperationalError as error:
                return error
            finally:
                connection.close()

        return deferToThread(work)

    async def test_statements_pass_and_tls_is_declined(self) -> None:
        self.assertEqual(await self.execute("SELECT 1", "SELECT 2", sslmode="prefer"), [(2,)])

    async def test_an_answer_that_is_eaten_was_committed(self) -> None:
        strike = self.cut.add(Strike(Act.CUT, Side.ANSWERED, rb"INSERT INTO cuts"))
        answer = await self.execute("INSERT INTO cuts VALUES (1)")
        self.assertIsInstance(answer, psycopg2.OperationalError)
        self.assertTrue(strike.struck.done)
        self.assertEqual(self.sql("SELECT n FROM cuts"), [(1,)])

    async def test_the_answer_of_commit_is_eaten(self) -> None:
        self.cut.add(Strike(Act.CUT, Side.ANSWERED, rb"^COMMIT"))
        answer = await self.execute("BEGIN", "INSERT INTO cuts VALUES (2)", "COMMIT")
        self.assertIsInstance(answer, psycopg2.OperationalError)
        self.assertEqual(self.sql("SELECT n FROM cuts"), [(2,)])

    async def test_a_question_that_is_eaten_was_never_asked(self) -> None:
        self.cut.add(Strike(Act.CUT, Side.ASKED, rb"INSERT INTO cuts"))
        self.assertIsInstance(await self.execute("INSERT INTO cuts VALUES (3)"), psycopg2.OperationalError)
        self.assertEqual(self.sql("SELECT n FROM cuts"), [])

    async def test_a_prepared_statement_is_known_by_its_text(self) -> None:
        prepare = "PREPARE sora_1 AS INSERT INTO cuts VALUES ($1); EXECUTE sora_1(4)"
        strike = self.cut.add(Strike(Act.CUT, Side.ANSWERED, rb"INSERT INTO cuts", skip=1))
        self.assertIsInstance(await self.execute(prepare, "EXECUTE sora_1(5)"), psycopg2.OperationalError)
        self.assertTrue(strike.struck.done)
        self.assertEqual(self.sql("SELECT n FROM cuts ORDER BY n"), [(4,), (5,)])

    async def test_a_held_answer_comes_when_it_is_released(self) -> None:
        strike = self.cut.add(Strike(Act.STALL, Side.ANSWERED, rb"SELECT 7"))
        waiting = self.execute("SELECT 7")
        await strike.struck.wait()
        self.assertFalse(waiting.called)
        strike.release()
        self.assertEqual(await waiting, [(7,)])
