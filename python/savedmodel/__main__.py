"""`python -m savedmodel`: the `savedmodel` command."""

import sys

from savedmodel.cli import main

if __name__ == "__main__":
    sys.exit(main())
