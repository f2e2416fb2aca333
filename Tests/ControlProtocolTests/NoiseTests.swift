import ControlProtocol
import ControlTestSupport
import Crypto
import Foundation
import Testing

struct NoiseTests {
    /// The figures for `Noise_NNpsk0_25519_ChaChaPoly_SHA256` in the test vectors of cacophony, as they stand in
    /// tests/vectors/cacophony.txt of github.com/mcginty/snow at commit 8ac60f51cfe3e010c84f0a454cc575ad9204fa12.
    private enum Vector {
        static let prologue = hex("4a6f686e2047616c74")
        static let key = hex("54686973206973206d7920417573747269616e20706572737065637469766521")
        static let initiator = hex("893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a")
        static let responder = hex("bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b")
        static let handshakeHash = hex("f4d03dc34495c95729ea6de9e1b59004b59733102488b3e24bc441e0be208eaf")
        /// Payload and message, by turns from the initiator and the responder.
        static let messages = [
            (
                "4c756477696720766f6e204d69736573",
                "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944"
                    + "79b962b8aff8485742ac32f905ba45369e2465fb59e138a93d67a0d1266b6a54"
            ),
            (
                "4d757272617920526f746862617264",
                "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843"
                    + "d6062704d5a9c422a8e834423f8c1feada7e8d0d910a1a2cd030fb584221e3"
            ),
            ("462e20412e20486179656b", "e632c3763d7669067383433197a3baddf146e9e70ad4b4e9e59e0f"),
            ("4361726c204d656e676572", "64c6bee32ea91c8474bb4c21d7a700109ad45af77b29764ba5eb1e"),
            (
                "4a65616e2d426170746973746520536179",
                "e2fa0bed0603b62d3ccac2ecabbf3fe33f3e86514909b323361626266cb2471cc8"
            ),
            (
                "457567656e2042f6686d20766f6e2042617765726b",
                "0c01dc9cec1fe4ddd692e8dd32188aa351088dc91183639a53b57aa4692b5ebdef8b8ca111"
            ),
        ].map { (payload: hex($0), message: hex($1)) }

        static func hex(_ text: String) -> Data {
            let digits = text.compactMap(\.hexDigitValue)
            return Data(stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) })
        }
    }

    private func vectorHandshake(_ ephemeral: Data) throws -> NoiseHandshake {
        try NoiseHandshake(
            key: SymmetricKey(data: Vector.key), prologue: Vector.prologue,
            ephemeral: NoiseHandshake.Ephemeral(rawRepresentation: ephemeral))
    }

    @Test func publishedVector() throws {
        var initiator = try vectorHandshake(Vector.initiator)
        var responder = try vectorHandshake(Vector.responder)
        let messages = Vector.messages
        let first = try initiator.write(payload: messages[0].payload)
        let firstPayload = try responder.read(messages[0].message)
        let second = try responder.write(payload: messages[1].payload)
        let secondPayload = try initiator.read(messages[1].message)
        #expect([first, second] == messages[..<2].map(\.message))
        #expect([firstPayload, secondPayload] == messages[..<2].map(\.payload))
        var left = initiator.finish()
        var right = responder.finish()
        let hashes = [left.handshakeHash, right.handshakeHash]
        #expect(hashes == [Vector.handshakeHash, Vector.handshakeHash])
        for (index, (payload, message)) in messages.enumerated().dropFirst(2) {
            let isFromInitiator = index % 2 == 0
            let sealed = isFromInitiator ? try left.sending.seal(payload) : try right.sending.seal(payload)
            let opened = isFromInitiator ? try right.receiving.open(message) : try left.receiving.open(message)
            #expect(sealed == message)
            #expect(opened == payload)
        }
    }

    /// Each bit of either message counts, and so do its length, the key and the prologue.
    @Test func whatIsChangedIsRefused() throws {
        let first = Vector.messages[0].message
        let second = Vector.messages[1].message
        for bit in 0..<first.count * 8 {
            #expect(isRefused(flipped(first, bit)), "bit \(bit) of the first message")
        }
        for bit in 0..<second.count * 8 {
            // Also the highest of a public key, which does not count on the curve (RFC 7748, section 5): it is hashed.
            var initiator = try vectorHandshake(Vector.initiator)
            _ = try initiator.write(payload: Vector.messages[0].payload)
            let payload = try? initiator.read(flipped(second, bit))
            #expect(payload == nil, "bit \(bit) of the second message")
        }
        for count in 0..<first.count { #expect(isRefused(first.prefix(count)), "\(count) bytes") }
        #expect(isRefused(first, key: flipped(Vector.key, 7)))
        #expect(isRefused(first, prologue: Vector.prologue + [0]))
        #expect(isRefused(first, prologue: Data()))
        #expect(!isRefused(first))
    }

    /// Whether a responder takes `message` for none of an initiator's.
    private func isRefused(
        _ message: Data, key: Data = Vector.key, prologue: Data = Vector.prologue
    ) -> Bool {
        var responder = NoiseHandshake(key: SymmetricKey(data: key), prologue: prologue)
        do {
            _ = try responder.read(message)
            return false
        } catch {
            return true
        }
    }

    /// With a public key of small order (here 0 and 1) both sides would get a secret that everybody knows.
    @Test func pointsOfSmallOrderAreRefused() throws {
        for point in [Data(count: 32), Data([1]) + Data(count: 31)] {
            var responder = try vectorHandshake(Vector.responder)
            let payload = try responder.read(firstMessage(publicKey: point))
            #expect(payload.isEmpty)
            let answer = try? responder.write()
            #expect(answer == nil)
        }
    }

    /// What an initiator with the key and this ephemeral public key sends, step by step as the specification has it.
    private func firstMessage(publicKey: Data) throws -> Data {
        func derive(_ material: Data, _ chainingKey: Data, _ bytes: Int) -> Data {
            HKDF<SHA256>.deriveKey(
                inputKeyMaterial: SymmetricKey(data: material), salt: chainingKey, outputByteCount: bytes
            ).withUnsafeBytes { Data($0) }
        }
        func hash(_ data: Data) -> Data { Data(SHA256.hash(data: data)) }
        let name = hash(Data("Noise_NNpsk0_25519_ChaChaPoly_SHA256".utf8))
        let shared = derive(Vector.key, name, 96)
        let known = hash(hash(hash(name + Vector.prologue) + shared[32..<64]) + publicKey)
        let key = SymmetricKey(data: derive(publicKey, shared[..<32], 64)[32...])
        let nonce = try ChaChaPoly.Nonce(data: Data(count: 12))
        return try publicKey + ChaChaPoly.seal(Data(), using: key, nonce: nonce, authenticating: known).tag
    }

    @Test func everyHandshakeIsAnother() throws {
        let key = SymmetricKey(data: Vector.key)
        let messages = try (0..<100).map { _ in
            var handshake = NoiseHandshake(key: key, prologue: Vector.prologue)
            return try handshake.write().prefix(32)
        }
        #expect(Set(messages).count == 100)
    }

    private func flipped(_ data: Data, _ bit: Int) -> Data {
        var data = data
        data[bit / 8] ^= 1 << UInt8(bit % 8)
        return data
    }
}
