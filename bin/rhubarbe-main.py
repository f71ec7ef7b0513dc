#!/usr/bin/env python3
"""Any command of the suite: the name it is called by says which."""

import sys

try:
    from rhubarbe.cli.dispatch import main

    sys.exit(main())
except KeyboardInterrupt:  # while Python was still reading the code
    sys.exit(1)
