"""SEARCH, SORT and THREAD of the big mailbox: for the first time in a mailbox, and when it is asked again.

What is looked for is another text each time, so that no server answers from its memory of the same question.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import attrs

from bench.engine import Step
from bench.mail import FIRST_DAY, MINUTES_APART, NAMES, WORDS
from bench.measure import Measure
from bench.scripts import Imap

_INDEXING = 6.0
"""Seconds until a server has seen that an index is wanted; it is made while it is not quiet."""
_FIRST_TURNS = 3
"""Mailboxes in each round that are searched for the first time."""
_numbers = itertools.count(1)


def _sent(number: int, messages: int) -> str:
    """Return a day after which a tenth of the messages were sent, or up to fifty fewer."""
    day = FIRST_DAY + timedelta(minutes=MINUTES_APART * (messages - messages // 10 + number % 50))
    return _written(day)


def _written(day: datetime) -> str:
    return day.strftime("%d-%b-%Y").lstrip("0")


def _came(number: int) -> str:
    """Return a day after which all messages came."""
    return _written(datetime.now(UTC) - timedelta(days=2 + number % 1000))


@attrs.frozen
class Question:
    """What is asked, given a number that makes it another each time and how many messages there are."""

    command: Callable[[int, int], str]
    indexed: bool = False
    """Whether a server may make an index once it is asked."""
    needs: str = ""
    """The capability that a server must have."""


QUESTIONS: dict[str, Question] = {
    "text": Question(lambda number, _: f'SEARCH TEXT "zebra crossing {number}"', indexed=True),
    "body": Question(lambda number, _: f'SEARCH BODY "zebra crossing {number}"', indexed=True),
    "body-found": Question(lambda number, messages: f'SEARCH BODY " {7919 * number % messages}"', indexed=True),
    "from": Question(lambda number, _: f'SEARCH FROM "{NAMES[number % len(NAMES)].split()[1]}"'),
    "subject": Question(lambda number, _: f"SEARCH SUBJECT {WORDS[number % len(WORDS)]}"),
    "since": Question(lambda number, _: f"SEARCH SINCE {_came(number)}"),
    "sent": Question(lambda number, messages: f"SEARCH SENTSINCE {_sent(number, messages)}"),
    "unseen": Question(lambda *_: "SEARCH UNSEEN"),
    "sort-date": Question(lambda *_: "SORT (DATE) UTF-8 ALL", needs="SORT"),
    "sort-subject": Question(lambda *_: "SORT (SUBJECT) UTF-8 ALL", needs="SORT"),
    "thread": Question(lambda *_: "THREAD REFERENCES UTF-8 ALL", needs="THREAD=REFERENCES"),
}
"""By name."""


def _steps(imap: Imap, question: Question, messages: int) -> Iterator[Step]:
    return (imap.command(question.command(next(_numbers), messages)) for _ in itertools.count())


def ask_again(measure: Measure, *, name: str) -> None:
    """Ask of the big mailbox again and again."""
    question, count = QUESTIONS[name], measure.scale.messages
    measure.needs(question.needs)
    measure.fill([49], count)
    ((line, imap),) = measure.imap(first=49, mailbox="INBOX")
    if question.indexed and "index" not in measure.server.prepared:
        measure.once(line, *([step] for step in itertools.islice(_steps(imap, question, count), 2)))
        time.sleep(_INDEXING)
        measure.settle()
        measure.server.prepared.add("index")
    measure.over_and_over(line, _steps(imap, question, count))


def ask_first(measure: Measure, *, name: str) -> None:
    """Ask of copies of the big mailbox that were selected but never asked for anything."""
    question, count = QUESTIONS[name], measure.scale.messages
    measure.needs(question.needs)
    measure.fill([49], count)
    ((line, imap),) = measure.imap(first=49, mailbox="INBOX")
    steps = _steps(imap, question, count)
    for _ in range(_FIRST_TURNS):
        box = f"first{next(_numbers)}"
        before = (f"CREATE {box}", f"COPY 1:* {box}", f"SELECT {box}", "FETCH 1:* FLAGS")
        measure.once(line, [imap.command(text) for text in before])
        measure.timed([(line, [[next(steps)]])])
        measure.once(line, [imap.command("SELECT INBOX"), imap.command(f"DELETE {box}")])
