"""Notes of leases, as three servers write them; what none of them has written is told of."""

import time

import pytest
from absent import entry

from rhubarbe.config import Settings
from rhubarbe.config.settings import NetworkingSettings
from rhubarbe.doctor import dhcp
from rhubarbe.doctor.dhcp import leases_in
from rhubarbe.doctor.site import Site
from rhubarbe.events import Health

MAC, OTHER = "02:00:00:00:00:01", "02:00:00:00:00:02"
DNSMASQ = f"""\
1764380000 {MAC.upper()} 10.77.1.2 fit01 01:{MAC}
0 {OTHER} 10.77.1.3 * *
duid 00:01:00:01:2f:00:00:00:02:00:00:00:00:01
1764380000 1234567 fd00::1:2 fit01 00:01:00:01:2f
"""
ISC = """\
# The format of this file is documented in the dhcpd.leases(5) manual page.
# This lease file was written by isc-dhcp-4.4.3-P1

# authoring-byte-order entry is generated, DO NOT DELETE
authoring-byte-order little-endian;

server-duid "\\000\\001";
"""
LEASE = """\
lease {ip} {{
  starts 6 2025/11/29 01:00:00;
  ends 6 2025/11/29 13:00:00;
  binding state {state};
  next binding state free;
  rewind binding state free;
  hardware ethernet {mac};
  on commit {{
    set x = "}}";
  }}
  client-hostname "fit01";
}}
"""
KEA = (
    "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,"
    "user_context,pool_id\n"
)


def isc(*leases):
    return ISC + "".join(LEASE.format(ip=ip, mac=mac, state=state) for ip, mac, state in leases)


def kea(*leases):
    return KEA + "".join(
        f"{ip},{mac},,{lifetime},1764380000,1,0,0,fit01,0,,0\n" for ip, mac, lifetime in leases
    )


@pytest.mark.parametrize(
    ("text", "leases"),
    [
        ("", {}),
        ("\n# nothing yet\n", {}),
        (DNSMASQ, {MAC: "10.77.1.2", OTHER: "10.77.1.3"}),
        ("duid 00:01:00:01\n", {}),
        (ISC, {}),
        (isc(("10.77.1.2", MAC, "active")), {MAC: "10.77.1.2"}),
        (isc(("10.77.1.2", MAC, "free")), {}),
        (
            isc(("10.77.1.2", MAC, "active")) + f"host x {{\n  hardware ethernet {OTHER};\n}}\n",
            {MAC: "10.77.1.2"},
        ),
        (isc(("10.77.1.2", MAC, "active"), ("10.77.1.2", MAC, "free")), {}),
        (isc(("10.77.1.2", MAC, "free"), ("10.77.1.2", OTHER, "active")), {OTHER: "10.77.1.2"}),
        (KEA, {}),
        (kea(("10.77.1.2", MAC, 3600)), {MAC: "10.77.1.2"}),
        (kea(("10.77.1.2", MAC, 3600), ("10.77.1.2", MAC, 0)), {}),
        (kea(("10.77.1.2", MAC, 3600), ("10.77.1.2", OTHER, 3600)), {OTHER: "10.77.1.2"}),
        (KEA + "10.77.1.2\n", {}),
    ],
)
def test_what_a_server_has_noted_is_read(text, leases):
    assert leases_in(text) == leases


GARBAGE = [
    "garbage\n",
    "\0" * 4096,
    "1 2 3 4 5\n",
    "garbage of 3 words\nand more of the same\n",
    '{"leases": []}\n',
    "a,b,c\n10.77.1.2,02:00:00:00:00:01,x\n",
    f"{MAC} 10.77.1.2 fit01\n",
]


@pytest.mark.parametrize("text", GARBAGE)
def test_what_no_server_has_written_is_refused(text):
    with pytest.raises(ValueError, match="no lease"):
        leases_in(text)


def site(leases):
    return Site(Settings(networking=NetworkingSettings(dhcp_leases=leases)), [entry(1)], 5.0)


@pytest.mark.parametrize("text", GARBAGE)
async def test_a_file_of_garbage_is_wrong_and_named(text, tmp_path):
    path = tmp_path / "leases"
    path.write_text(text)
    (finding,) = await dhcp.look(site(path))
    assert finding.health is Health.WRONG
    assert finding.text.startswith(f"{path}: there is no lease in it")
    assert finding.advice


async def test_a_file_without_a_lease_yet_is_well(tmp_path):
    path = tmp_path / "leases"
    path.write_text(ISC)
    (finding,) = await dhcp.look(site(path))
    assert finding.health is Health.OK
    assert finding.text == f"{path}: 0 of 1 nodes have a lease, and theirs"


def test_many_leases_that_are_cut_short_take_no_time():
    begin = time.monotonic()
    assert leases_in("lease 10.77.1.2 {\n" * 200_000) == {}
    assert time.monotonic() - begin < 5
