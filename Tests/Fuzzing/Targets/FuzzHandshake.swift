import ControlProtocol
import Crypto
import Foundation

/// Somebody between a client and a server replaces a message of theirs, or changes it on its way: the first byte says which and
/// how, the others what comes instead. Without the key nothing is taken that was not sent.
func fuzzHandshake(_ bytes: [UInt8]) {
    guard let first = bytes.first else { return }
    _ = SecureStream.isHandshake(bytes)
    do {
        var pair = try Pair.make()
        let isEdited = first & 4 != 0
        let script = bytes.dropFirst()
        func forged(_ message: Data) -> Data { isEdited ? edited(message, by: script) : Data(script) }
        switch first & 3 {
        case 0:
            let message = try pair.client.write()
            expect(forged(message), isTakenLike: message) { message throws(NoiseError) in
                _ = try pair.server.read(message)
            }
        case 1:
            let message = try pair.exchangeFirst()
            expect(forged(message), isTakenLike: message) { message throws(NoiseError) in
                _ = try pair.client.read(message)
            }
        default:
            var sent = try pair.send(payloads)
            sent.check(forged(sent.records), pieceBytes: 1 + Int(first >> 3))
        }
    } catch {
        fatalError("without interference: \(error)")
    }
}

private let payloads = [Data(), Data("a".utf8), Data(repeating: 7, count: 40), Data("the end".utf8)]

/// Both sides with the same key. Their ephemeral keys are always the same ones: what is found can be found again.
private struct Pair: ~Copyable {
    var client: NoiseHandshake
    var server: NoiseHandshake

    static func make() throws -> Pair {
        let client = try side(1)
        let server = try side(2)
        return Pair(client: client, server: server)
    }

    private static func side(_ seed: UInt8) throws -> NoiseHandshake {
        try NoiseHandshake(
            key: SymmetricKey(data: Data(repeating: 42, count: ControlKey.sizeBytes)), prologue: Data("fuzz".utf8),
            ephemeral: NoiseHandshake.Ephemeral(rawRepresentation: Data(repeating: seed, count: 32)))
    }

    /// - Returns: the server's answer.
    mutating func exchangeFirst() throws(NoiseError) -> Data {
        _ = try server.read(client.write())
        return try server.write()
    }

    /// What the client sends after the handshake, and what takes it apart at the server.
    consuming func send(_ payloads: [Data]) throws(NoiseError) -> Sent {
        _ = try client.read(exchangeFirst())
        var sender = client.finish()
        var records = Data()
        for payload in payloads {
            let message = try sender.sending.seal(payload)
            records += Data([UInt8(message.count >> 8), UInt8(message.count & 0xFF)]) + message
        }
        return Sent(records: records, decoder: RecordDecoder(server.finish()))
    }
}

private struct Sent: ~Copyable {
    let records: Data
    var decoder: RecordDecoder

    /// - Parameter stream: what became of the records on their way.
    mutating func check(_ stream: Data, pieceBytes: Int) {
        var taken = Data()
        var hasFailed = false
        var rest = stream[...]
        while !rest.isEmpty, !hasFailed {
            let piece = rest.prefix(pieceBytes)
            rest = rest.dropFirst(piece.count)
            do {
                taken += try decoder.take([UInt8](piece))
            } catch {
                hasFailed = true
            }
        }
        let sent = payloads.reduce(Data(), +)
        precondition(sent.starts(with: taken), "something was taken that was not sent")
        if records.starts(with: stream) { precondition(!hasFailed, "a record as it was sent was refused") }
        if records == stream { precondition(taken == sent && decoder.pendingBytes == 0, "something was not taken") }
    }
}

private func expect(_ message: Data, isTakenLike original: Data, _ read: (Data) throws(NoiseError) -> Void) {
    let isTaken: Bool
    do {
        try read(message)
        isTaken = true
    } catch {
        isTaken = false
    }
    precondition(isTaken == (message == original), isTaken ? "a forged message was taken" : "the message was refused")
}

/// Three bytes an edit: what, where, and how much.
private func edited(_ message: Data, by script: ArraySlice<UInt8>) -> Data {
    var bytes = [UInt8](message)
    var rest = script
    while rest.count >= 3, !bytes.isEmpty {
        let edit = [UInt8](rest.prefix(3))
        rest = rest.dropFirst(3)
        let place = Int(edit[1]) % bytes.count
        let part = place..<min(place + Int(edit[2]), bytes.count)
        switch edit[0] % 4 {
        case 0: bytes[place] ^= edit[2]
        case 1: bytes.removeSubrange(part)
        case 2: bytes.insert(contentsOf: Array(bytes[part]), at: place)
        default: bytes.insert(edit[2], at: place)
        }
    }
    return Data(bytes)
}
