"""``python -m sockscope`` and the ``sockscope`` command."""

from __future__ import annotations

import os
import signal

EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit."""
    # Nothing has begun that a Ctrl+C could cut off; until then it is no reason for a traceback.
    signal.signal(signal.SIGINT, lambda *_: os._exit(EXIT_INTERRUPTED))
    from sockscope.cli.app import main

    main()


if __name__ == "__main__":
    main()
