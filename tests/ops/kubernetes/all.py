"""Runs the tests of the levels up to one. Arguments: a level or `renew`, and a filter."""

import sys

import checks


def main() -> int:
    level, only = sys.argv[1], sys.argv[2]
    checks.renew = level == "renew"
    levels = 0 if checks.renew else int(level)
    import level0  # noqa: F401

    if levels >= 1:
        import level1  # noqa: F401
    if levels >= 2:
        import level2  # noqa: F401
    return checks.run("snapshots" if checks.renew else only)


sys.exit(main())
