"""Damage to files, at random."""

import random


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Return the bytes cut off, with some changed, taken out, doubled, or exchanged for zeros."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        if not data:
            break
        start = rng.randrange(len(data))
        end = min(start + rng.choice([1, 2, 8, 64, 1024]), len(data))
        kind = rng.randrange(5)
        if kind == 0:
            del data[start:]
        elif kind == 1:
            data[start:end] = rng.randbytes(end - start)
        elif kind == 2:
            del data[start:end]
        elif kind == 3:
            data[start:start] = data[start:end]
        else:
            data[start:end] = bytes(end - start)
    return bytes(data)
