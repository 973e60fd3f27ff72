"""``python -m sockscope`` and the ``sockscope`` command."""

from __future__ import annotations

from sockscope.cli.app import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
