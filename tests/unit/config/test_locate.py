"""The line of a key is found whatever stands around it."""

import tomllib

from twisted.trial import unittest

from sora.core.config.locate import Lines

DOCUMENT = '''\
# [no] = "header"
top = 1
quoted."a b".c = """
x = 1
[y]
"""

[one]
list = [ # [
  1, "]",
  2,
]
after = { inner = 1 }

  [one."two three"]
  key = \'\'\'
z = 2\'\'\'
[[many]]
a = 1
[[many]]
a = 2
[[many.deep]]
b = "\\\\"
c = 'x = [ # '
d = 1
'''


class LinesTests(unittest.SynchronousTestCase):
    """`Lines` follows the document as the parser does."""

    def test_keys_have_their_lines(self) -> None:
        tomllib.loads(DOCUMENT)
        lines = Lines(DOCUMENT)
        expected = {
            ("top",): 2,
            ("quoted", "a b", "c"): 3,
            ("quoted",): 3,
            ("one",): 8,
            ("one", "list"): 9,
            ("one", "after"): 13,
            ("one", "after", "inner"): 13,
            ("one", "two three"): 15,
            ("one", "two three", "key"): 16,
            ("many", 0, "a"): 19,
            ("many", 1): 20,
            ("many", 1, "a"): 21,
            ("many", 1, "deep", 0, "b"): 23,
            ("many", 1, "deep", 0, "d"): 25,
        }
        self.assertEqual({key: lines.line(key) for key in expected}, expected)

    def test_what_is_nowhere_has_no_line(self) -> None:
        self.assertIs(Lines("a = 1\n").line(("b", "c")), None)
