"""Rules with shorter times, for tests: what takes minutes in production takes seconds.

Every duration that a rule waits for or looks back over (`for`, `keep_firing_for`, ranges such as
`[10m]`, `offset`) is divided by the same number, and is at least as long as a few scrapes.
Thresholds stay as they are, and so does everything else: a rule that fires here is the very rule
that is shipped.
"""

import re

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# A range has to hold some scrapes, which come every second in the tests.
SHORTEST_RANGE = 10


def seconds(duration):
    return int(duration[:-1]) * UNITS[duration[-1]]


def shorten(text, divisor):
    """The text of a file of rules, with durations divided."""

    def wait(match):
        return f"{match[1]}{max(seconds(match[2]) // divisor, 1)}s"

    def span(match):
        resolution = ":1s" if match[2] else ""
        return f"[{max(seconds(match[1]) // divisor, SHORTEST_RANGE)}s{resolution}]"

    def offset(match):
        return f"offset {max(seconds(match[1]) // divisor, SHORTEST_RANGE)}s"

    text = re.sub(r"(\b(?:keep_firing_for|for): )(\d+[smhd])\b", wait, text)
    text = re.sub(r"\[(\d+[smhd])(:)?\]", span, text)
    return re.sub(r"\boffset (\d+[smhd])\b", offset, text)
