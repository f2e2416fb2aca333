"""The coordinator's secure channel, in Python's standard library alone (docs/protocol.md, "The secure channel").

Noise_NNpsk0_25519_ChaChaPoly_SHA256 (noiseprotocol.org, revision 34) over X25519 (RFC 7748) and ChaCha20-Poly1305 (RFC 8439).
Python's integers take a time that depends on their values: do not use it where others can measure this process's time. A
megabyte takes one to two seconds.
"""

import hashlib
import hmac
import os
import struct

PROTOCOL = b"Noise_NNpsk0_25519_ChaChaPoly_SHA256"
PROLOGUE = b"moe-control/1"
KEY_BYTES = 32
TAG_BYTES = 16
LARGEST_PAYLOAD = 65535 - TAG_BYTES

_PRIME = 2**255 - 19


class Tampered(Exception):
    """A message does not open: another key, or somebody changed it."""


def x25519(scalar, point):
    """The Montgomery ladder of RFC 7748, section 5."""
    k = int.from_bytes(scalar, "little") & ~7 & (1 << 254) - 1 | 1 << 254
    x1 = int.from_bytes(point, "little") & (1 << 255) - 1
    x2, z2, x3, z3, swap = 1, 0, x1, 1, 0
    for bit in range(254, -1, -1):
        k_bit = k >> bit & 1
        if swap ^ k_bit:
            x2, z2, x3, z3 = x3, z3, x2, z2
        swap = k_bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a, b * b, d * a, c * b
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % _PRIME, x1 * (da - cb) ** 2 % _PRIME
        x2, z2 = aa * bb % _PRIME, e * (aa + 121665 * e) % _PRIME
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, _PRIME - 2, _PRIME) % _PRIME).to_bytes(32, "little")


def _chacha20_blocks(key, counter, nonce, count):
    """`count` blocks of the key stream (RFC 8439, section 2.3)."""
    start = struct.unpack("<4I", b"expand 32-byte k") + struct.unpack("<8I", key)
    tail = struct.unpack("<3I", nonce)
    blocks = bytearray()
    mask = 0xFFFFFFFF
    rounds = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
              (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
    for block in range(counter, counter + count):
        initial = (*start, block, *tail)
        s = list(initial)
        for _ in range(10):
            for i, j, k, l in rounds:
                a, b, c, d = s[i], s[j], s[k], s[l]
                a = a + b & mask
                d ^= a
                d = (d << 16 | d >> 16) & mask
                c = c + d & mask
                b ^= c
                b = (b << 12 | b >> 20) & mask
                a = a + b & mask
                d ^= a
                d = (d << 8 | d >> 24) & mask
                c = c + d & mask
                b ^= c
                s[i], s[j], s[k], s[l] = a, (b << 7 | b >> 25) & mask, c, d
        blocks += struct.pack("<16I", *(x + y & mask for x, y in zip(s, initial)))
    return blocks


def _xor(data, stream):
    size = len(data)
    return (int.from_bytes(data, "little") ^ int.from_bytes(stream[:size], "little")).to_bytes(size, "little")


def _poly1305(key, additional, text):
    """The tag of RFC 8439, section 2.8."""
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    pad = lambda data: data + bytes(-len(data) % 16)
    message = pad(additional) + pad(text) + struct.pack("<2Q", len(additional), len(text))
    sum_ = 0
    for start in range(0, len(message), 16):
        sum_ = (sum_ + int.from_bytes(message[start:start + 16] + b"\x01", "little")) * r % (2**130 - 5)
    return ((sum_ + int.from_bytes(key[16:], "little")) & (1 << 128) - 1).to_bytes(16, "little")


def seal(key, nonce, additional, text):
    """ChaCha20-Poly1305: the text, encrypted, and its tag."""
    stream = _chacha20_blocks(key, 0, nonce, 1 + -(-len(text) // 64))
    hidden = _xor(text, stream[64:])
    return hidden + _poly1305(stream[:32], additional, hidden)


def open_sealed(key, nonce, additional, sealed):
    """The text, or `Tampered`."""
    hidden, tag = sealed[:-TAG_BYTES], sealed[-TAG_BYTES:]
    stream = _chacha20_blocks(key, 0, nonce, 1 + -(-len(hidden) // 64))
    if len(sealed) < TAG_BYTES or not hmac.compare_digest(tag, _poly1305(stream[:32], additional, hidden)):
        raise Tampered("a message of the secure channel does not open: another key, or it was changed on its way")
    return _xor(hidden, stream[64:])


def _derive(chaining_key, material, count):
    """Noise's HKDF (section 4.3)."""
    temporary = hmac.digest(chaining_key, material, "sha256")
    outputs, last = [], b""
    for index in range(1, count + 1):
        last = hmac.digest(temporary, last + bytes([index]), "sha256")
        outputs.append(last)
    return outputs


class _Cipher:
    """Noise's CipherState (section 5.1)."""

    def __init__(self, key):
        self.key, self.count = key, 0

    def _nonce(self):
        nonce = bytes(4) + struct.pack("<Q", self.count)
        self.count += 1
        return nonce

    def seal(self, additional, text):
        return seal(self.key, self._nonce(), additional, text)

    def open(self, additional, sealed):
        return open_sealed(self.key, self._nonce(), additional, sealed)


class Handshake:
    """The initiator's side: `first()`, then `finish(answer)`, which gives the ciphers to send and to receive with."""

    def __init__(self, key, private=None):
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}: make one with moe-ctl key generate")
        self.private = private or os.urandom(32)
        self.hash = self.chaining_key = hashlib.sha256(PROTOCOL).digest()
        self._mix_hash(PROLOGUE)
        self.chaining_key, mixed, cipher_key = _derive(self.chaining_key, key, 3)
        self._mix_hash(mixed)
        self.cipher = _Cipher(cipher_key)

    def _mix_hash(self, data):
        self.hash = hashlib.sha256(self.hash + data).digest()

    def _mix_key(self, material):
        self.chaining_key, cipher_key = _derive(self.chaining_key, material, 2)
        self.cipher = _Cipher(cipher_key)

    def first(self):
        public = x25519(self.private, (9).to_bytes(32, "little"))
        self._mix_hash(public)
        self._mix_key(public)
        tag = self.cipher.seal(self.hash, b"")
        self._mix_hash(tag)
        return public + tag

    def finish(self, answer):
        if len(answer) != 32 + TAG_BYTES:
            raise Tampered(f"the coordinator answers the handshake with {len(answer)} bytes")
        public, tag = answer[:32], answer[32:]
        self._mix_hash(public)
        self._mix_key(public)
        shared = x25519(self.private, public)
        if shared == bytes(32):
            raise Tampered("the coordinator's public key is of low order")
        self._mix_key(shared)
        self.cipher.open(self.hash, tag)
        sending, receiving = _derive(self.chaining_key, b"", 2)
        return _Cipher(sending), _Cipher(receiving)
