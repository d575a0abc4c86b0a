"""Log lines: levels, text and JSON, escaping, context, where they go."""

import io
import json
import sys
from pathlib import Path
from typing import Any

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from twisted.trial import unittest

from sora.observe import log

TIME = 1_700_000_000.125
HOSTILE = "a\nb\r\nc\x1b[31m\u2028d\x00"


def event(text: str, level: Any = LogLevel.info, **values: Any) -> dict[str, Any]:
    return {"log_format": text, "log_level": level, "log_time": TIME, "log_namespace": "sora.test", **values}


class LogTests(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        for name in ("level", "json", "stream", "debug", "slot"):
            self.patch(log.form, name, getattr(log.form, name))
        log.configure(level="info", json_lines=False)

    def line(self, *arguments: Any, **values: Any) -> str:
        """Return the line of an event that is shown."""
        line = log.render(event(*arguments, **values))
        assert line is not None
        return line

    def fields(self, *arguments: Any, **values: Any) -> dict[str, Any]:
        """Return the fields of an event shown as JSON."""
        line = self.line(*arguments, **values)
        self.assertEqual(line.count("\n"), 1)
        fields: dict[str, Any] = json.loads(line)
        return fields


class LevelTests(LogTests):
    def test_lines_below_the_level_are_not_shown(self) -> None:
        levels = [LogLevel.debug, LogLevel.info, LogLevel.warn, LogLevel.error, LogLevel.critical]
        for number, name in enumerate(("debug", "info", "warn", "error")):
            log.configure(level=name, json_lines=False)
            shown = [level for level in levels if log.render(event("x", level)) is not None]
            self.assertEqual(shown, levels[number:])

    def test_hot_paths_are_told_whether_debug_lines_are_wanted(self) -> None:
        for name, wanted in (("debug", True), ("info", False), ("error", False)):
            log.configure(level=name, json_lines=False)
            self.assertEqual(log.form.debug, wanted)

    def test_an_unknown_level_is_refused(self) -> None:
        self.assertRaises(KeyError, log.configure, level="loud", json_lines=False)

    def test_an_event_without_level_and_time_is_shown_as_information(self) -> None:
        self.assertEqual(log.render({"log_format": "plain"}), "1970-01-01T00:00:00.000+00:00 info  plain\n")


class TextTests(LogTests):
    def test_a_line_has_time_in_utc_level_and_values(self) -> None:
        self.assertEqual(
            self.line("signed in from {peer}", LogLevel.warn, peer="192.0.2.1"),
            "2023-11-14T22:13:20.125+00:00 warn  signed in from 192.0.2.1\n",
        )

    def test_nothing_in_a_value_starts_a_line_of_its_own_or_reaches_the_terminal(self) -> None:
        line = self.line("user {name}", name=HOSTILE)
        *lines, last = line.split("\n")
        self.assertEqual(last, "")
        self.assertTrue(all(one.isprintable() for one in lines), lines)
        self.assertTrue(all(one.startswith("  ") for one in lines[1:]), lines)

    def test_text_beyond_ascii_stays_readable(self) -> None:
        self.assertIn("Grüße an 山田\n", self.line("Grüße an {name}", name="山田"))

    def test_a_failure_is_shown_with_its_traceback(self) -> None:
        line = self.line("it broke", LogLevel.critical, log_failure=Failure(ValueError("why")))
        self.assertIn("it broke\n", line)
        self.assertIn("ValueError: why", line)

    def test_what_a_peer_brought_into_an_exception_starts_no_line_of_its_own(self) -> None:
        first, *others = self.line("it broke", log_failure=Failure(ValueError(HOSTILE))).rstrip("\n").split("\n")
        self.assertTrue(first.endswith("it broke"))
        self.assertTrue(all(one.startswith("  ") and one.isprintable() for one in others), others)

    def test_a_value_that_cannot_be_shown_does_not_break_the_log(self) -> None:
        class Broken:
            def __str__(self) -> str:
                raise RuntimeError("no")

            __repr__ = __str__

        self.assertIn("info", self.line("a {value}", value=Broken()))


class JsonTests(LogTests):
    def setUp(self) -> None:
        super().setUp()
        log.configure(level="info", json_lines=True)

    def test_an_event_is_one_object_on_one_line(self) -> None:
        self.assertEqual(
            self.fields("user {name}", LogLevel.error, name=HOSTILE),
            {
                "time": "2023-11-14T22:13:20.125+00:00",
                "level": "error",
                "source": "sora.test",
                "message": f"user {HOSTILE}",
            },
        )

    def test_a_traceback_is_a_field(self) -> None:
        fields = self.fields("it broke", log_failure=Failure(ValueError("why")))
        self.assertIn("ValueError: why", fields["traceback"])


class ContextTests(LogTests):
    def setUp(self) -> None:
        super().setUp()
        for variable, value in ((log.session, "s7"), (log.account, "anna@example.org\nx"), (log.protocol, "imap")):
            token = variable.set(value)
            self.addCleanup(variable.reset, token)

    def test_text_lines_carry_it_escaped(self) -> None:
        self.assertTrue(self.line("x").endswith(" x protocol=imap session=s7 account=anna@example.org\\nx\n"))

    def test_json_lines_carry_it_as_fields(self) -> None:
        log.configure(level="info", json_lines=True)
        fields = self.fields("x")
        self.assertEqual(
            [fields[name] for name in ("protocol", "session", "account")], ["imap", "s7", "anna@example.org\nx"]
        )

    def test_what_is_not_known_is_left_out(self) -> None:
        token = log.account.set("")
        self.addCleanup(log.account.reset, token)
        self.assertTrue(self.line("x").endswith(" x protocol=imap session=s7\n"))


class SlotTests(LogTests):
    def test_one_of_several_processes_says_which_it_is(self) -> None:
        self.assertNotIn("slot", self.line("x"))
        log.form.slot = "1"
        self.assertTrue(self.line("x").endswith("x slot=1\n"))
        log.configure(level="info", json_lines=True)
        self.assertEqual(self.fields("x")["slot"], "1")


class OutputTests(LogTests):
    def test_a_file_that_was_moved_away_is_opened_anew(self) -> None:
        file = Path(self.mktemp())
        log.configure(level="info", json_lines=False, output=str(file))
        before = log.form.stream
        assert before is not None
        file.rename(file.with_suffix(".1"))
        log.configure(level="info", json_lines=False, output=str(file))
        self.assertTrue(before.closed)
        log.observer(io.StringIO())(event("x"))
        self.assertIn("x", file.read_text())
        log.configure(level="info", json_lines=False)

    def test_lines_go_where_the_observer_was_told(self) -> None:
        stream = io.StringIO()
        Logger(observer=log.observer(stream)).info("hello {who}", who="world")
        self.assertRegex(stream.getvalue(), r"^\S+ info  hello world\n$")

    def test_lines_are_appended_to_the_file_that_is_configured(self) -> None:
        file = Path(self.mktemp())
        file.write_text("before\n")
        log.configure(level="info", json_lines=False, output=str(file))
        assert log.form.stream is not None
        self.addCleanup(log.form.stream.close)
        elsewhere = io.StringIO()
        Logger(observer=log.observer(elsewhere)).info("hello")
        before, line = file.read_text().splitlines()
        self.assertEqual((before, line[-5:], elsewhere.getvalue()), ("before", "hello", ""))

    def test_a_file_that_cannot_be_written_is_an_error(self) -> None:
        missing = str(Path(self.mktemp()) / "log")
        self.assertRaises(OSError, log.configure, level="info", json_lines=False, output=missing)

    def test_standard_output_can_be_asked_for(self) -> None:
        stream = io.StringIO()
        self.patch(sys, "__stdout__", stream)
        log.configure(level="info", json_lines=False, output="stdout")
        Logger(observer=log.observer(io.StringIO())).warn("hello")
        self.assertRegex(stream.getvalue(), r"^\S+ warn  hello\n$")

    def test_standard_error_is_where_lines_go_again_once_it_is_configured(self) -> None:
        elsewhere, error = io.StringIO(), io.StringIO()
        self.patch(sys, "__stdout__", elsewhere)
        log.configure(level="info", json_lines=False, output="stdout")
        log.configure(level="info", json_lines=False)
        Logger(observer=log.observer(error)).info("hello")
        self.assertEqual(elsewhere.getvalue(), "")
        self.assertIn("hello", error.getvalue())

    def test_without_any_stream_nothing_is_written_and_nothing_breaks(self) -> None:
        self.patch(sys, "stderr", None)
        Logger(observer=log.observer()).info("hello")
