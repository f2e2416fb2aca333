import Crypto
import Foundation

/// One side of a handshake of `Noise_NNpsk0_25519_ChaChaPoly_SHA256` (noiseprotocol.org, specification revision 34):
///
///     -> psk, e
///     <- e, ee
///
/// The initiator writes and then reads, the responder reads and then writes. Who lacks the pre-shared key can do neither. The keys
/// of a connection come from both sides' ephemeral keys as well, so the pre-shared key does not open what was recorded earlier.
package struct NoiseHandshake: ~Copyable, Sendable {
    package typealias Ephemeral = Curve25519.KeyAgreement.PrivateKey

    package static let pattern = "Noise_NNpsk0_25519_ChaChaPoly_SHA256"
    /// A message without payload: an ephemeral public key and a tag.
    package static let messageBytes = publicKeyBytes + NoiseCipher.tagBytes
    private static let publicKeyBytes = 32

    private var state: NoiseSymmetricState
    private let ephemeral: Ephemeral
    private var remote: Data?
    /// Nil before the first message.
    private var isInitiator: Bool?

    /// - Parameters:
    ///   - prologue: what both sides must agree on.
    ///   - ephemeral: a fresh one but for published examples.
    package init(key: SymmetricKey, prologue: Data, ephemeral: Ephemeral = Ephemeral()) {
        state = NoiseSymmetricState(pattern: Self.pattern, prologue: prologue)
        state.mixKeyAndHash(key)
        self.ephemeral = ephemeral
    }

    /// This side's message.
    package mutating func write(payload: Data = Data()) throws(NoiseError) -> Data {
        let own = ephemeral.publicKey.rawRepresentation
        try mix(own)
        if isInitiator == nil { isInitiator = true }
        return try own + state.seal(payload)
    }

    /// The payload of the other side's message.
    package mutating func read(_ message: Data) throws(NoiseError) -> Data {
        guard message.count >= Self.messageBytes else { throw .malformed }
        let key = Data(message.prefix(Self.publicKeyBytes))
        remote = key
        try mix(key)
        if isInitiator == nil { isInitiator = false }
        return try state.open(Data(message.dropFirst(Self.publicKeyBytes)))
    }

    /// An ephemeral public key goes in, and with the second one what both give together.
    private mutating func mix(_ key: Data) throws(NoiseError) {
        state.mixHash(key)
        state.mixKey(SymmetricKey(data: key))
        guard isInitiator != nil, let remote else { return }
        guard let point = try? Curve25519.KeyAgreement.PublicKey(rawRepresentation: remote),
            let agreed = try? ephemeral.sharedSecretFromKeyAgreement(with: point)
        else { throw .malformed }
        let shared = agreed.withUnsafeBytes { SymmetricKey(data: $0) }
        // With a point of small order the result is zero, whatever this side's key (RFC 7748, section 6.1).
        guard shared != SymmetricKey(data: Data(count: shared.bitCount / 8)) else { throw .malformed }
        state.mixKey(shared)
    }

    /// What the connection goes on with after both messages.
    package consuming func finish() -> NoiseTransport {
        let (first, second) = state.split()
        let isInitiator = isInitiator == true
        return NoiseTransport(
            sending: NoiseCipher(key: isInitiator ? first : second),
            receiving: NoiseCipher(key: isInitiator ? second : first), handshakeHash: state.hash)
    }
}

/// The two directions of a connection after the handshake.
package struct NoiseTransport: ~Copyable, Sendable {
    package var sending: NoiseCipher
    package var receiving: NoiseCipher
    /// The same at both ends, and at no other connection.
    package let handshakeHash: Data
}
