#!/usr/bin/env python3
"""Any command of the suite: the name it is called by says which."""

import gc
import sys

# Else what is imported is searched for garbage a dozen times, in vain, and once more at the end.
gc.set_threshold(50_000)
try:
    from rhubarbe.cli.dispatch import main
    from rhubarbe.start import begin

    begin()
    code = main()
    gc.freeze()
    sys.exit(code)
except KeyboardInterrupt:  # while Python was still reading the code
    sys.exit(1)
