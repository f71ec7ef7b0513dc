"""The messages of master servers, byte by byte."""

import pytest

from rhubarbe.frisbee import master
from rhubarbe.frisbee.errors import MalformedPacket
from rhubarbe.frisbee.master import GetReply, GetRequest, Method, Refusal

REQUEST = (
    b"V01\0" b"\x00\x00\x00\x01"  # version, GETREQ
    b"\x0a\x00\x00\x07" b"\x03" b"\x01" b"\x00\x05"  # host, methods, asks only, length
    b"proj/" + bytes(251)
)  # fmt: skip
REPLY = (
    b"V01\0" b"\x00\x00\x00\x02"
    b"\x02" b"\x01" b"\x00\x00"  # multicast, runs, no error
    b"\x0a\x00\x00\x01" b"\xea\x05\x06\x07" b"\x27\x11"  # server, group, port 10001
    b"\x00\x01" b"\x12\x34" + bytes(254)  # signature: a time
    + b"\x00\x00\x00\x01" b"\x00\x00\x00\x05"  # size
)  # fmt: skip


def test_a_request_as_it_is_on_the_wire():
    assert len(REQUEST) == 272
    methods = Method.UNICAST | Method.MULTICAST
    request = GetRequest(b"proj/", methods, only_asks=True, host="10.0.0.7")
    assert request.encode() == REQUEST
    assert master.body_bytes(REQUEST[:8]) == 264
    assert GetRequest.decode(REQUEST[8:]) == request


def test_a_name_may_be_counted_with_its_zero():
    assert GetRequest.decode(REQUEST[8:15] + b"\6" + REQUEST[16:]).name == b"proj/"


def test_a_name_longer_than_there_is_room_for_is_refused():
    with pytest.raises(MalformedPacket):
        GetRequest.decode(REQUEST[8:14] + b"\x01\x01" + REQUEST[16:])


def test_a_reply_as_it_is_on_the_wire():
    assert len(REPLY) == 288
    where = {"server": "10.0.0.1", "address": "234.5.6.7", "port": 10001}
    reply = GetReply(method=Method.MULTICAST, is_running=True, size=(1 << 32) + 5, **where)
    assert GetReply.decode(REPLY) == reply
    unsigned = REPLY[:22] + bytes(258) + REPLY[280:]
    assert reply.encode() == unsigned
    assert GetReply.decode(GetReply(Refusal.NO_ACCESS).encode()).refusal == 4


@pytest.mark.parametrize("message", [b"", REPLY[:-1], b"V02" + REPLY[3:], REPLY[:7] + b"\4"])
def test_what_is_no_reply(message):
    with pytest.raises(MalformedPacket):
        GetReply.decode(message.ljust(288, b"\0") if message[7:8] == b"\4" else message)


@pytest.mark.parametrize("header", [b"V02\0\0\0\0\1", b"V01\0\0\0\0\2", b"V01\0\0\0\0\5"])
def test_what_is_no_question(header):
    with pytest.raises(MalformedPacket):
        master.body_bytes(header)


def test_leave_to_send_an_image_is_refused():
    header = b"V01\0\0\0\0\3"
    assert master.is_put(header)
    assert master.body_bytes(header) == 279
    assert master.put_refused() == b"V01\0\0\0\0\4" + b"\0\x0a" + bytes(281)
