"""``python -m lesionlens`` is the ``lesionlens`` command."""

from __future__ import annotations

from lesionlens.cli.main import main

if __name__ == "__main__":
    main()
