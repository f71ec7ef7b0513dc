#!/usr/bin/env python3
"""What repairs by parity would save: how many times an image is sent, without a network.

Usage: coding.py [CHUNKS]. Losses are independent; all clients know at once what they lack, and so
does the server. For each number of clients and share of loss, blocks sent by blocks of the image:

- without coding, the least: `least` of simulate.py.
- xor: a repair is the exclusive or of blocks such that no client lacks two of them, which are
  chosen greedily; each round repairs all that was lacking before, and its packets are lost, too.
- code 128, code 1024: any 128 packets of those that are sent of 128 blocks give these, or any 1024
  of a chunk's: an ideal code, as Reed-Solomon over 2^8 or random combinations come near to.
"""

import argparse
import math
import random
from collections.abc import Iterator

from simulate import least

BLOCKS = 1024


def lost(chance: random.Random, packets: int, loss: float) -> Iterator[int]:
    """Yield which of so many packets a client loses, ascending."""
    at = -1
    while True:
        at += 1 + int(chance.expovariate(-math.log1p(-loss)))
        if at >= packets:
            return
        yield at


def combined(lack: dict[int, set[int]]) -> list[list[int]]:
    """Return which blocks go into one packet each, for blocks that some clients lack."""
    packets: list[tuple[list[int], set[int]]] = []
    for block, lacking in sorted(lack.items(), key=lambda item: -len(item[1])):
        for blocks, helped in packets:
            if not helped & lacking:
                blocks.append(block)
                helped |= lacking
                break
        else:
            packets.append(([block], set(lacking)))
    return [blocks for blocks, _ in packets]


def by_xor(chance: random.Random, clients: int, loss: float) -> int:
    """Return how many packets a chunk takes."""
    sent = 0
    packets = [[block] for block in range(BLOCKS)]
    lack = {block: set(range(clients)) for block in range(BLOCKS)}
    while lack:
        sent += len(packets)
        left: dict[int, set[int]] = {}
        for client in range(clients):
            for number in lost(chance, len(packets), loss):
                for block in packets[number]:
                    if client in lack[block]:
                        left.setdefault(block, set()).add(client)
        lack, packets = left, combined(left)
    return sent


def by_code(chance: random.Random, clients: int, loss: float, size: int) -> int:
    """Return how many packets ``size`` blocks take: as many as who loses most of them needs."""
    most = 0
    for _ in range(clients):
        sent = lacking = size
        while lacking:
            lacking = sum(1 for _ in lost(chance, lacking, loss))
            sent += lacking
        most = max(most, sent)
    return most


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("chunks", nargs="?", type=int, default=20)
    chunks = parser.parse_args().chunks
    chance = random.Random(1)
    print("clients  loss  without    xor  code 128  code 1024")
    for clients in (6, 64, 200):
        for loss in (0.01, 0.05):
            xor = sum(by_xor(chance, clients, loss) for _ in range(chunks)) / chunks / BLOCKS
            codes = [
                sum(by_code(chance, clients, loss, size) for _ in range(rounds)) / rounds / size
                for size, rounds in ((128, 8 * chunks), (BLOCKS, chunks))
            ]
            print(
                f"{clients:7d} {loss:5.0%} {least(clients, loss):8.3f} {xor:6.3f}"
                f" {codes[0]:9.3f} {codes[1]:10.3f}"
            )


if __name__ == "__main__":
    main()
