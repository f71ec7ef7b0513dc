"""May this user use the testbed now: leases, kept on this gateway or by a reservation service.

`[leases] backend` says which, and `none` is the default: then nothing is asked, nor imported.
"""

from rhubarbe.leases.access import require, warn

__all__ = ["require", "warn"]
