"""Makes of PDUs: where each has the state of an outlet and its switch, by its public MIB.

`{}` is the outlet: a number, or several with dots between them where the index has several, such as
that of the PDU in a chain.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Make:
    """What shows that an outlet is on or off, and which value to set where for an order.

    Several values of `on` and `off`: it is on and about to be switched off, and the like. `parts`
    are the numbers that name an outlet; where fewer are said, the first of them are `begins`.
    """

    state: str
    on: tuple[int, ...]
    off: tuple[int, ...]
    orders: Mapping[str, tuple[str, int]]
    begins: tuple[str, ...] = ()

    def index(self, outlet: str) -> str:
        """Return the index of an outlet in the tables of the MIB."""
        parts = outlet.split(".")
        lacking = len(self.begins) + 1 - len(parts)
        return ".".join([*self.begins[: max(0, lacking)], *parts])


def _switch(oid: str, on: int, off: int, reset: int | None) -> Mapping[str, tuple[str, int]]:
    orders = {"on": (oid, on), "off": (oid, off)}
    return orders if reset is None else orders | {"reset": (oid, reset)}


_APC = "1.3.6.1.4.1.318.1.1"
_CYBERPOWER = "1.3.6.1.4.1.3808.1.1.3.3"
_EATON = "1.3.6.1.4.1.534.6.6.7.6.6.1"
_GEIST = "1.3.6.1.4.1.21239.5.2.3.5.1"
_NETIO = "1.3.6.1.4.1.47952.1.1.1"
_RARITAN = "1.3.6.1.4.1.13742"
_SENTRY3 = "1.3.6.1.4.1.1718.3.2.3.1"
_SENTRY4 = "1.3.6.1.4.1.1718.4.1.8"

MAKES: Mapping[str, Make] = {
    # Switched Rack PDU, AP79xx; and AP86xx, AP89xx as well.
    "apc": Make(
        f"{_APC}.12.3.5.1.1.4.{{}}", (1,), (2,), _switch(f"{_APC}.12.3.3.1.1.4.{{}}", 1, 2, 3)
    ),
    "apc-masterswitch": Make(
        f"{_APC}.4.4.2.1.3.{{}}", (1,), (2,), _switch(f"{_APC}.4.4.2.1.3.{{}}", 1, 2, 3)
    ),
    # AP86xx, AP89xx: what shows 1 is off there.
    "apc-rpdu2": Make(
        f"{_APC}.26.9.2.3.1.5.{{}}", (2,), (1,), _switch(f"{_APC}.26.9.2.4.1.5.{{}}", 1, 2, 3)
    ),
    "cyberpower": Make(
        f"{_CYBERPOWER}.5.1.1.4.{{}}", (1,), (2,), _switch(f"{_CYBERPOWER}.3.1.1.4.{{}}", 1, 2, 3)
    ),
    # ePDU G2 and later; an outlet of another PDU of a chain is such as 2.7. What is set is a delay.
    "eaton": Make(
        f"{_EATON}.2.{{}}",
        (1, 2),
        (0, 3),
        {"off": (f"{_EATON}.3.{{}}", 0), "on": (f"{_EATON}.4.{{}}", 0)}
        | {"reset": (f"{_EATON}.5.{{}}", 0)},
        ("0",),
    ),
    # Geist and Vertiv with firmware 5.
    "geist": Make(f"{_GEIST}.4.{{}}", (1, 3, 5), (2, 4, 6), _switch(f"{_GEIST}.6.{{}}", 2, 4, 6)),
    "netio": Make(f"{_NETIO}.3.{{}}", (1,), (0,), _switch(f"{_NETIO}.5.{{}}", 1, 0, 2)),
    # PX2, PX3: the outlet of another PDU of a chain is such as 2.7.
    "raritan": Make(
        f"{_RARITAN}.6.4.1.2.1.3.{{}}",
        (7,),
        (8,),
        _switch(f"{_RARITAN}.6.4.1.2.1.2.{{}}", 1, 0, 2),
        ("1",),
    ),
    # Tower, infeed and outlet: 7 is 1.1.7.
    "servertech": Make(
        f"{_SENTRY3}.5.{{}}", (1, 2), (0, 3), _switch(f"{_SENTRY3}.11.{{}}", 1, 2, 3), ("1", "1")
    ),
    # PRO1, PRO2: unit, cord and outlet.
    "servertech-pro": Make(
        f"{_SENTRY4}.3.1.1.{{}}",
        (1, 2),
        (0, 3),
        _switch(f"{_SENTRY4}.5.1.2.{{}}", 1, 2, 3),
        ("1", "1"),
    ),
}
