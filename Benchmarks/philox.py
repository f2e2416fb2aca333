"""The random batches of `moe-worker --data-order random`, so that a peer trains on the same ones.

The generator is that of Sources/Randomness (Philox4x32-10 keyed by seed, purpose and keys), the starts are those of
Sources/TokenData/BatchSource.swift.
"""

_MASK64 = (1 << 64) - 1
_MASK32 = (1 << 32) - 1


def _mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK64
    return z ^ (z >> 31)


def _philox(counter, key):
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        first, second = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (second >> 32) ^ c1 ^ k0, second & _MASK32, (first >> 32) ^ c3 ^ k1, first & _MASK32
        k0, k1 = (k0 + 0x9E3779B9) & _MASK32, (k1 + 0xBB67AE85) & _MASK32
    return c0, c1, c2, c3


def bits(seed, purpose, keys, index=0):
    """64 random bits."""
    state = seed & _MASK64
    words = [len(purpose.encode()), *purpose.encode(), *keys]
    for word in words:
        state = _mix(state ^ _mix((word + 0x9E3779B97F4A7C15) & _MASK64))
    key = _mix(state)
    block = _philox(
        (index & _MASK32, index >> 32, state & _MASK32, state >> 32), (key & _MASK32, key >> 32))
    return block[1] << 32 | block[0]


def starts(seed, step, batch_size, tokens, sequence_length):
    """The first token of each sequence of the batch of `step`, from 0, in a file of `tokens` tokens."""
    return [
        bits(seed, "data order", [step, sequence]) * (tokens - sequence_length) >> 64
        for sequence in range(batch_size)
    ]
