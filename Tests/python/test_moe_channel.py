"""The secure channel of the Python client against published vectors. python3 -m unittest, with deploy/python in PYTHONPATH."""

import random
import unittest

import moe_channel


class ChannelTests(unittest.TestCase):
    def test_x25519(self):
        """RFC 7748, sections 5.2 (the first vector, and the iteration) and 6.1."""
        scalar = bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
        point = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
        self.assertEqual(
            moe_channel.x25519(scalar, point).hex(), "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552")
        k = u = (9).to_bytes(32, "little")
        for _ in range(1000):
            k, u = moe_channel.x25519(k, u), k
        self.assertEqual(k.hex(), "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51")

    def test_chacha20_poly1305(self):
        """RFC 8439, section 2.8.2."""
        key, nonce = bytes(range(0x80, 0xA0)), bytes.fromhex("070000004041424344454647")
        additional = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
        text = (b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
                b"sunscreen would be it.")
        sealed = moe_channel.seal(key, nonce, additional, text)
        self.assertEqual(sealed[:16].hex(), "d31a8d34648e60db7b86afbc53ef7ec2")
        self.assertEqual(sealed[-16:].hex(), "1ae10b594f09e26a7e902ecbd0600691")
        self.assertEqual(moe_channel.open_sealed(key, nonce, additional, sealed), text)

    def test_nothing_that_was_changed_opens(self):
        seed = random.randrange(1 << 32)
        generator = random.Random(seed)
        for _ in range(50):
            key, nonce, text = generator.randbytes(32), generator.randbytes(12), generator.randbytes(generator.randrange(200))
            sealed = bytearray(moe_channel.seal(key, nonce, b"", text))
            self.assertEqual(moe_channel.open_sealed(key, nonce, b"", bytes(sealed)), text, f"seed {seed}")
            sealed[generator.randrange(len(sealed))] ^= 1 << generator.randrange(8)
            with self.assertRaises(moe_channel.Tampered, msg=f"seed {seed}"):
                moe_channel.open_sealed(key, nonce, b"", bytes(sealed))
        for short in [b"", b"123456789012345"]:
            with self.assertRaises(moe_channel.Tampered):
                moe_channel.open_sealed(key, nonce, b"", short)


if __name__ == "__main__":
    unittest.main()
