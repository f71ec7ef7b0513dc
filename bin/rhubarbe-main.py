#!/usr/bin/env python3
"""Any command of the suite: the name it is called by says which."""

import sys

from rhubarbe.cli.dispatch import main

sys.exit(main())
