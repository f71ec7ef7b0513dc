"""What does not deflate is stored: blocks as RFC 1951 has them."""

from rhubarbe.ndz.stored import is_better_stored, stored


def test_stored_blocks_byte_for_byte():
    assert stored(memoryview(b"\1\2\3")) == bytes.fromhex("000300fcff010203")
    two = stored(memoryview(bytes(0x10001)))
    assert two[:5] == bytes.fromhex("00ffff0000")
    assert two[5 + 0xFFFF :] == bytes.fromhex("000200fdff0000")


def test_what_is_hardly_smaller_is_better_stored():
    assert [is_better_stored(n, 1000) for n in (10, 980, 981, 1005)] == [False, False, True, True]
