"""Runs the tests of the levels up to one. Arguments: a level or `renew`, and a filter."""

import sys

import harness


def main() -> int:
    level, only = sys.argv[1], sys.argv[2]
    harness.renew = level == "renew"
    levels = 0 if harness.renew else int(level)
    import level0  # noqa: F401

    if levels >= 1:
        import level1  # noqa: F401
    if levels >= 2:
        import level2  # noqa: F401
    return harness.run("snapshot" if harness.renew else only)


sys.exit(main())
