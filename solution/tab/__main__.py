"""`python -m solution.tab`: make the tab's web resources and say how large they are."""

import sys

from solution.tab.build import TabNotBuilt, built, sizes


def main() -> int:
    """Build, print one line per file with its size as it is and compressed, and return the exit code."""
    try:
        folder = built()
    except TabNotBuilt as error:
        print(error, file=sys.stderr)
        return 1
    for name, (plain, compressed) in sizes(folder).items():
        print(f"{name:10} {plain / 1024:7.1f} KB, compressed {compressed / 1024:6.1f} KB")
    return 0


sys.exit(main())
