import Crypto
import Foundation

/// What both sides of a handshake have hashed and agreed on so far (Noise specification revision 34, section 5.2).
struct NoiseSymmetricState: ~Copyable, Sendable {
    private var chainingKey: SymmetricKey
    private(set) var hash: Data
    /// Before the first key is mixed in there is nothing to encrypt with.
    private var cipher: NoiseCipher?

    init(pattern: String, prologue: Data) {
        // A name of up to 32 bytes would be padded instead.
        precondition(pattern.utf8.count > SHA256.byteCount)
        hash = Data(SHA256.hash(data: Data(pattern.utf8)))
        chainingKey = SymmetricKey(data: hash)
        mixHash(prologue)
    }

    mutating func mixHash(_ data: Data) {
        hash = Data(SHA256.hash(data: hash + data))
    }

    mutating func mixKey(_ material: SymmetricKey) {
        let keys = derive(2, from: material)
        chainingKey = keys[0]
        cipher = NoiseCipher(key: keys[1])
    }

    mutating func mixKeyAndHash(_ material: SymmetricKey) {
        let keys = derive(3, from: material)
        chainingKey = keys[0]
        mixHash(keys[1].withUnsafeBytes { Data($0) })
        cipher = NoiseCipher(key: keys[2])
    }

    mutating func seal(_ payload: Data) throws(NoiseError) -> Data {
        guard let message = try cipher?.seal(payload, authenticating: hash) else { throw .malformed }
        mixHash(message)
        return message
    }

    mutating func open(_ message: Data) throws(NoiseError) -> Data {
        guard let payload = try cipher?.open(message, authenticating: hash) else { throw .malformed }
        mixHash(message)
        return payload
    }

    /// The keys for what the initiator sends, and for what the responder sends.
    func split() -> (SymmetricKey, SymmetricKey) {
        let keys = derive(2, from: SymmetricKey(data: Data()))
        return (keys[0], keys[1])
    }

    /// The specification's HKDF (section 4.3) is that of RFC 5869 without info.
    private func derive(_ count: Int, from material: SymmetricKey) -> [SymmetricKey] {
        let salt = chainingKey.withUnsafeBytes { Data($0) }
        let output = HKDF<SHA256>.deriveKey(
            inputKeyMaterial: material, salt: salt, outputByteCount: count * SHA256.byteCount)
        return output.withUnsafeBytes { bytes in
            (0..<count).map { SymmetricKey(data: bytes[$0 * SHA256.byteCount..<($0 + 1) * SHA256.byteCount]) }
        }
    }
}
