"""`python -m oneway` is the command `oneway`."""

from __future__ import annotations

from oneway.cli import main

if __name__ == "__main__":
    main()
