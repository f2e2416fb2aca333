import Crypto
import Foundation

/// ChaCha20-Poly1305 under one key, for messages of one direction (Noise specification revision 34, section 5.1). Nonces count up and
/// none is used twice, so the value cannot be copied.
package struct NoiseCipher: ~Copyable, Sendable {
    package static let tagBytes = 16

    private let key: SymmetricKey
    private var count: UInt64 = 0

    init(key: SymmetricKey) {
        self.key = key
    }

    /// `plaintext` encrypted, and a tag behind it.
    package mutating func seal(
        _ plaintext: some DataProtocol, authenticating known: Data = Data()
    ) throws(NoiseError) -> Data {
        let nonce = try nextNonce()
        guard let box = try? ChaChaPoly.seal(plaintext, using: key, nonce: nonce, authenticating: known) else {
            throw .exhausted
        }
        return box.ciphertext + box.tag
    }

    /// What `seal` was given at the other end.
    package mutating func open(
        _ message: some DataProtocol, authenticating known: Data = Data()
    ) throws(NoiseError) -> Data {
        guard message.count >= Self.tagBytes else { throw .malformed }
        let nonce = try nextNonce()
        guard
            let box = try? ChaChaPoly.SealedBox(
                nonce: nonce, ciphertext: message.dropLast(Self.tagBytes), tag: message.suffix(Self.tagBytes)),
            let plaintext = try? ChaChaPoly.open(box, using: key, authenticating: known)
        else { throw .altered }
        return plaintext
    }

    /// Four bytes of zeros and the count, least significant byte first (section 12.3). The last count is reserved.
    private mutating func nextNonce() throws(NoiseError) -> ChaChaPoly.Nonce {
        guard count < .max else { throw .exhausted }
        let bytes = Data(count: 4) + withUnsafeBytes(of: count.littleEndian) { Data($0) }
        guard let nonce = try? ChaChaPoly.Nonce(data: bytes) else { throw .exhausted }
        count += 1
        return nonce
    }
}

/// Why a handshake or a connection cannot go on.
package enum NoiseError: Error {
    /// It is too short, or has no point of the curve.
    case malformed
    /// The tag does not fit: another key, or other bytes than were sent.
    case altered
    /// All nonces are used.
    case exhausted
}
