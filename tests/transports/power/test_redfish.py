"""Controllers by Redfish: sushy-emulator, and the ways in which those of vendors differ from it."""

import asyncio
import contextlib
import gc
import gzip
import hashlib
import ssl
import threading
from pathlib import Path

import aiohttp
import pytest
from conformance import WithCredentials
from sushy_tools import error as sushy_error
from sushy_tools.emulator.resources.systems.base import AbstractSystemsDriver
from vendor import (
    ACTION,
    PASSWORD,
    SESSIONS,
    SYSTEM,
    SYSTEMS,
    USER,
    Vendor,
    complaint,
    context_of,
    serving,
)

from rhubarbe.config.secrets import Secret
from rhubarbe.config.settings import NetworkingSettings
from rhubarbe.errors import CardError, CardRefused, GatewayError
from rhubarbe.inventory import Driver
from rhubarbe.testbed import certificates
from rhubarbe.testbed.controls import controllers
from rhubarbe.transports.power import CONTROLS
from rhubarbe.transports.power.redfish import Redfish
from rhubarbe.transports.redfish.talk import Answer
from rhubarbe.transports.redfish.values import RedfishValues

IP = "127.0.0.1"
# sushy-tools leaves its databases to the collector of garbage, as Python 3.13 says.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning"),
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <sqlite3.Connection:pytest.PytestUnraisableExceptionWarning"
    ),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Who signs the certificates, and one for this address."""
    directory = tmp_path_factory.mktemp("site")
    certificates.write(directory / "ca.pem", directory / "served.pem", [IP])
    return directory


@pytest.fixture(scope="module")
def served(site):
    return context_of(site / "served.pem")


@pytest.fixture
def reach(site, served):
    """Serve a vendor's controller, and yield what talks to it."""

    @contextlib.asynccontextmanager
    async def reach(vendor, within=10.0, **said):
        async with asyncio.timeout(60), serving(vendor, served) as port:
            yield at(port, site, within, **said)

    return reach


def values(port, site, **said):
    said = {"ca": site / "ca.pem", "password": Secret(PASSWORD), "user": USER} | said
    return RedfishValues(address=IP, port=port, **said)


def at(port, site, within=5.0, **said):
    """Return what talks to a controller there."""
    return Redfish(values(port, site, **said), within, NetworkingSettings())


class Switched(AbstractSystemsDriver):
    """What sushy-emulator asks: the machine of a test."""

    driver = "test"
    systems = ("one",)

    def __init__(self, machine):
        self._machine = machine

    def uuid(self, identity):
        if identity not in self.systems:
            raise sushy_error.NotFound
        return identity

    name = uuid

    def get_power_state(self, identity):
        return "On" if self._machine.seen() else "Off"

    def set_power_state(self, identity, state):
        self._machine.press(str(controllers.KEYS[state]))

    def get_boot_device(self, identity):
        return None

    def set_boot_device(self, identity, boot_source):
        raise AssertionError


class TestConformance(WithCredentials):
    """As every kind, by sushy-emulator."""

    piece, cuts = 100, 12
    secrets = (PASSWORD, "guessed")

    @pytest.fixture(autouse=True)
    def at_site(self, site, served):
        self.site, self.served = site, served
        yield
        gc.collect()  # what sushy-tools left, before it would be taken for another test's

    def control(self, port, within):
        return at(port, self.site, within)

    def stranger(self, port, within):
        return at(port, self.site, within, password=Secret("guessed"))

    @contextlib.asynccontextmanager
    async def serve(self, machine):
        application = controllers.application_of(Switched(machine), self.site, USER, PASSWORD)
        server = controllers.listen(IP, 0, application, self.served)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            await asyncio.to_thread(server.shutdown)
            thread.join()
            server.server_close()


async def test_sessions_are_ended_whatever_happens(reach):
    vendor = Vendor().allow("ForceOff")
    async with reach(vendor) as control:
        assert await control.is_on()
        await control.send("off")
        assert vendor.orders == ["ForceOff"]
        vendor.answers("GET", SYSTEM, (500, complaint("Out of order.")))
        with pytest.raises(CardError, match="answers status with HTTP status 500: Out of order"):
            await control.is_on()
    assert vendor.heard.count(("POST", SESSIONS)) == 3
    assert vendor.tokens == {}


async def test_a_session_is_ended_after_silence_and_by_who_is_cancelled(reach):
    hangs = asyncio.Event()

    async def hang(_):
        hangs.set()
        await asyncio.Event().wait()

    vendor = Vendor().answers("GET", SYSTEM, (0, hang), (0, hang))
    async with reach(vendor, within=1) as control:
        with pytest.raises(CardError, match="no answer in 1 s to status"):
            await control.is_on()
        assert vendor.tokens == {}
        hangs.clear()
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(control.is_on())
            await hangs.wait()
            asking.cancel()
        assert vendor.tokens == {}


@pytest.mark.parametrize("status", [200, 401, 404, 405, 500])
async def test_how_a_session_ends_is_not_what_was_asked(reach, status):
    async with reach(Vendor(ends_sessions_with=status)) as control:
        assert await control.is_on()


@pytest.mark.parametrize("status", [400, 404, 405, 501, 503])
async def test_where_there_is_no_room_for_a_session_the_password_is_shown(reach, status):
    full = complaint("The maximum number of user sessions is reached.")
    vendor = Vendor().answers("POST", SESSIONS, (status, full), (status, full))
    async with reach(vendor) as control:
        assert await control.is_on()
        await control.send("off")
    assert vendor.orders == ["ForceOff"]


@pytest.mark.parametrize("token", ["a\x0bb", "\x1b[31mred", "del\x7f"])
async def test_a_token_that_cannot_be_shown_is_none(reach, token):
    async def lie(request):  # as no library of a server would
        head = f"HTTP/1.1 201 Created\r\nX-Auth-Token: {token}\r\nContent-Length: 2\r\n\r\n"
        request.transport.write(f"{head}{{}}".encode())
        request.transport.close()
        await asyncio.Event().wait()

    async with reach(Vendor().answers("POST", SESSIONS, (0, lie))) as control:
        if aiohttp.helpers.DEBUG:  # with python -X dev, aiohttp itself takes no such header
            with pytest.raises(CardError, match="answers status with what is not HTTP"):
                await control.is_on()
        else:
            assert await control.is_on()


@pytest.mark.parametrize("token", ["a\x0bb", "\x1b[31mred", "del\x7f"])
def test_an_answer_has_no_header_that_cannot_be_shown(token):
    assert not Answer(201, {}, {"X-Auth-Token": token}).header("X-Auth-Token")


async def test_who_has_no_sessions_is_shown_the_password(reach):
    vendor = Vendor(root={"Systems": {"@odata.id": SYSTEMS}})
    async with reach(vendor) as control:
        assert await control.is_on()
    assert ("POST", SESSIONS) not in vendor.heard


async def test_a_root_that_wants_a_login_gets_one(reach):
    vendor = Vendor().answers("GET", "/redfish/v1", (401, complaint("Who are you?")))
    async with reach(vendor) as control:
        assert await control.is_on()


@pytest.mark.parametrize("sessions", [True, False])
async def test_one_wrong_login_is_one(reach, sessions):
    vendor = Vendor() if sessions else Vendor(root={"Systems": {"@odata.id": SYSTEMS}})
    async with reach(vendor, password=Secret("guessed")) as control:
        with pytest.raises(CardRefused, match=r"refuses status to this user and password: .* 401"):
            await control.is_on()
    assert len(vendor.heard) == 2


async def test_a_secret_that_is_quoted_is_not_shown(reach):
    words = f"The value {PASSWORD} for Password is not in the list"
    vendor = Vendor().answers("GET", SYSTEM, (400, complaint(words)))
    async with reach(vendor) as control:
        with pytest.raises(CardError, match=r"The value \(not shown\) for Password") as caught:
            await control.is_on()
    assert PASSWORD not in str(caught.value)


async def test_one_that_is_not_ready_is_asked_again(reach):
    busy = (503, complaint("The service is temporarily unavailable.", "Retry in 30 seconds."))
    vendor = Vendor().answers("GET", SYSTEM, busy, busy).answers("POST", ACTION, (429, None))
    async with reach(vendor) as control:
        assert await control.is_on()
        await control.send("off")
    assert vendor.orders == ["ForceOff"]


async def test_one_that_is_never_ready_is_told_in_its_words(reach):
    busy = (503, complaint("Retry in 30 seconds."))
    vendor = Vendor().answers("GET", SYSTEM, *[busy] * 10)
    async with reach(vendor, within=1.2) as control:
        with pytest.raises(CardError, match="answers status with HTTP status 503: Retry in 30 s"):
            await control.is_on()


async def test_one_that_hangs_up_after_each_answer_is_understood(reach):
    vendor = Vendor(hangs_up=True)
    async with reach(vendor) as control:
        for _ in range(5):
            assert await control.is_on()
            await control.send("off")
    assert vendor.orders == ["ForceOff"] * 5
    assert vendor.tokens == {}


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_another_way_to_write_a_path_is_followed(reach, status):
    to = {"Location": f"{SESSIONS}/"}
    vendor = Vendor().answers("POST", SESSIONS, (status, None, to))
    to = {"Location": f"https://192.0.2.7{ACTION}/"}
    vendor.answers("POST", ACTION, (status, None, to))
    async with reach(vendor) as control:
        await control.send("off")
    assert vendor.orders == ["ForceOff"]
    assert vendor.tokens == {}


async def test_who_sends_us_in_circles_is_told(reach):
    to = {"Location": SYSTEM}
    vendor = Vendor().answers("GET", SYSTEM, *[(302, None, to)] * 10)
    async with reach(vendor) as control:
        with pytest.raises(CardError, match="by sending us from one place to another"):
            await control.is_on()


@pytest.mark.parametrize(
    ("allowed", "order", "sent"),
    [
        (["ForceOff", "On", "ForceRestart", "PowerCycle"], "reset", "ForceRestart"),
        (["On", "ForceOff", "GracefulRestart", "PowerCycle", "Nmi"], "reset", "PowerCycle"),
        (["On", "ForceOff", "GracefulRestart"], "reset", "GracefulRestart"),
        (["ForceOn", "ForceOff"], "on", "ForceOn"),
        (["PushPowerButton"], "off", "PushPowerButton"),
        ([], "reset", "ForceRestart"),
        (None, "off", "ForceOff"),
    ],
)
async def test_the_reset_is_one_that_is_allowed(reach, allowed, order, sent):
    vendor = Vendor()
    vendor.reset = {"target": ACTION, "ResetType@Redfish.AllowableValues": allowed}
    async with reach(vendor) as control:
        await control.send(order)
    assert vendor.orders == [sent]


async def test_the_reset_is_one_of_a_list_beside(reach):
    info = f"{SYSTEM}/ResetActionInfo"
    parameters = [{"Name": "Else"}, {"Name": "ResetType", "AllowableValues": ["PowerCycle"]}]
    for said in (info, {"@odata.id": info}):
        vendor = Vendor(reset={"target": ACTION, "@Redfish.ActionInfo": said})
        vendor.answers("GET", info, (200, {"Parameters": parameters}))
        async with reach(vendor) as control:
            await control.send("reset")
        assert vendor.orders == ["PowerCycle"]


async def test_an_order_that_nothing_does_is_told_with_what_there_is(reach):
    async with reach(Vendor().allow("Nmi", "Suspend")) as control:
        with pytest.raises(CardError, match=r"allows no ForceRestart or .*, but Nmi, Suspend"):
            await control.send("reset")


@pytest.mark.parametrize(("power", "order"), [("On", "on"), ("Off", "off")])
async def test_a_button_is_not_pushed_where_that_would_undo(reach, power, order):
    vendor = Vendor(power=power).allow("PushPowerButton")
    async with reach(vendor) as control:
        await control.send(order)
    assert vendor.orders == []


@pytest.mark.parametrize("status", [400, 409])
async def test_what_is_so_already_is_no_error(reach, status):
    vendor = Vendor()
    for _ in range(2):
        said = (status, complaint("Server is already powered ON."))
        vendor.answers("POST", ACTION, said)
        async with reach(vendor) as control:
            if vendor.power == "On":
                await control.send("on")
            else:
                with pytest.raises(CardError, match=rf"answers on with HTTP status {status}: Serv"):
                    await control.send("on")
        vendor.power = "Off"


async def test_a_task_is_an_answer(reach):
    vendor = Vendor().answers("POST", ACTION, (202, {"@odata.id": "/redfish/v1/TaskService/1"}))
    async with reach(vendor) as control:
        await control.send("off")


@pytest.mark.parametrize(
    ("power", "is_on"),
    [("On", True), ("Off", False), ("PoweringOn", True), ("PoweringOff", True), ("Paused", True)],
)
async def test_states_on_the_way(reach, power, is_on):
    async with reach(Vendor(power=power)) as control:
        assert await control.is_on() is is_on


@pytest.mark.parametrize("power", [None, "", "on", "Reset", 1, True, ["On"], {"On": 1}])
async def test_a_state_that_is_none(reach, power):
    async with reach(Vendor(power=power)) as control:
        with pytest.raises(CardError, match="without a power state that is on or off"):
            await control.is_on()


async def test_what_is_compressed_unasked_is_read(reach):
    async with reach(Vendor(compress=True)) as control:
        assert await control.is_on()


async def test_one_of_several_systems_is_named(reach):
    several = [f"{SYSTEMS}/Blade1/", SYSTEM, f"{SYSTEMS}/Blade2"]
    for system in ("1", SYSTEM, f"{SYSTEM}/"):
        async with reach(Vendor(systems=several), system=system) as control:
            assert await control.is_on()
    async with reach(Vendor(systems=several)) as control:
        with pytest.raises(CardError, match=r"several systems: Blade1, 1, Blade2: say .* `system`"):
            await control.is_on()
    async with reach(Vendor(systems=several), system="Blade") as control:
        with pytest.raises(CardError, match="has no system Blade, but Blade1, 1, Blade2"):
            await control.is_on()


BOMB = gzip.compress(b" " * (64 << 20))


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"<html>on</html>",
        b"[" * 5000,
        b'{"Members": [{"@odata.id": "/redfish/v1/Syst',
        b"null",
        b"3",
        b'"On"',
        b"\xff\xfe",
        b'{"Members": 3}',
        b'{"Members": [3, null, [], {"@odata.id": 4}]}',
        b'{"Members": [{"@odata.id": "http://[::1"}]}',
        b'{"Members": [{"@odata.id": "/x\\ud800"}]}',
        b'{"Members": [{"@odata.id": "/a b\\r\\nX: y"}]}',
        b'{"Members": [{"@odata.id": "mailto:root"}]}',
        b'{"Members": [' + b'{"@odata.id": "/1"},' * 60000 + b"0]}",
    ],
)
async def test_what_no_service_should_say_is_one_line(reach, said):
    vendor = Vendor().answers("GET", SYSTEMS, (200, said))
    async with reach(vendor) as control:
        with pytest.raises(CardError) as caught:
            await control.is_on()
    assert str(caught.value).isprintable()


async def test_what_is_small_and_becomes_large_is_not_swallowed(reach):
    vendor = Vendor().answers("GET", SYSTEM, (200, BOMB, {"Content-Encoding": "gzip"}))
    async with reach(vendor) as control:
        with pytest.raises(CardError):
            await control.is_on()


@pytest.mark.parametrize("place", ["root", "system", "reset"])
@pytest.mark.parametrize("other", [None, 3, "text", [], [1], {"a": 1}, {"@odata.id": [2]}])
async def test_other_types_than_there_should_be_are_an_error(reach, place, other):
    vendor = Vendor()
    if place == "root":
        vendor.root = dict.fromkeys(vendor.root, other)
    elif place == "system":
        vendor.system = dict.fromkeys(vendor.shown(), other)
    else:
        vendor.reset = dict.fromkeys((*vendor.reset, "@Redfish.ActionInfo"), other)
    async with reach(vendor) as control:
        with pytest.raises(CardError) as caught:
            await control.send("off")
    assert str(caught.value).isprintable()
    assert vendor.orders == []
    assert vendor.tokens == {}


def digest(site):
    pem = (site / "served.pem").read_text().partition("-----BEGIN CERT")
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem[1] + pem[2])).digest()


async def test_who_answers_is_proven(reach, site, tmp_path):
    certificates.write(tmp_path / "ca.pem", tmp_path / "served.pem", [IP])
    async with reach(Vendor(), ca=None, fingerprint=digest(site)) as control:
        assert await control.is_on()
    async with reach(Vendor(), ca=None, insecure=True) as control:
        assert await control.is_on()
    other = "shows another certificate, of fingerprint " + digest(site).hex()
    for said, words in (
        ({"ca": None}, "shows a certificate that cannot be trusted: unable to get"),
        ({"ca": tmp_path / "ca.pem"}, "shows a certificate that cannot be trusted"),
        ({"ca": tmp_path / "ca.pem", "insecure": True}, "cannot be trusted"),
        ({"host": "bmc.example"}, r"cannot be trusted: Hostname mismatch.*bmc\.example"),
        ({"ca": None, "fingerprint": b"x" * 32, "insecure": True}, other),
    ):
        vendor = Vendor()
        async with reach(vendor, **said) as control:
            with pytest.raises(CardError, match=words):
                await control.is_on()
        assert vendor.heard == []


async def test_a_file_of_certificates_that_is_none_is_the_gateway_s(reach, tmp_path):
    (tmp_path / "empty").touch()
    for name, words in (("empty", "no certificate is in there"), ("missing", "No such file")):
        async with reach(Vendor(), ca=tmp_path / name) as control:
            with pytest.raises(GatewayError, match=words):
                await control.is_on()


async def test_one_that_speaks_no_tls_is_told(site):
    async with serving(Vendor(), None) as port:
        with pytest.raises(CardError, match="cannot be spoken to by TLS: "):
            await at(port, site).is_on()


def test_what_the_inventory_may_say():
    good = {"address": "192.0.2.1", "user": "root", "password": "x"}
    more = {"port": 8443, "system": "1", "ca": "/etc/ssl/ca.pem", "insecure": "no"}
    pinned = {"fingerprint": "AB:" * 31 + "cd", "boot_mode": "UEFI", "host": "bmc.example"}
    assert list(CONTROLS.faults(Driver("redfish", good | more | pinned))) == []
    for said, words in (
        ({"fingerprint": "AB:CD"}, "power.fingerprint: expected a SHA-256 fingerprint"),
        ({"boot_mode": "uefi"}, "power.boot_mode: expected UEFI or Legacy, found 'uefi'"),
        ({"password": ["x"]}, "power.password: expected"),
        ({"insecure": "perhaps"}, "power.insecure: expected yes or no"),
    ):
        (fault,) = CONTROLS.faults(Driver("redfish", good | said))
        assert fault.startswith(words)
    for lacks in good:
        said = {key: value for key, value in good.items() if key != lacks}
        (fault,) = CONTROLS.faults(Driver("redfish", said))
        assert fault.startswith(f"power.{lacks}: expected")


def test_one_system_is_one_whoever_we_are_to_it():
    ours, theirs = (values(443, Path("/"), user=user) for user in ("root", "admin"))
    networking = NetworkingSettings()
    assert Redfish.outlet(ours, networking) == Redfish.outlet(theirs, networking)
    other = values(443, Path("/"), system="2")
    assert Redfish.outlet(ours, networking) != Redfish.outlet(other, networking)
