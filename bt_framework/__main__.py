"""``python -m bt_framework`` is `bt`."""

import sys

from bt_framework.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
