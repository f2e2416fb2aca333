import Foundation

/// The keys that a coordinator takes, and the roles of each. Without any, connections are neither encrypted nor authenticated, and
/// have both roles.
public struct AcceptedKeys: Sendable {
    private struct Entry {
        let key: ControlKey
        let roles: Set<ControlRole>
    }

    private let entries: [Entry]

    public var isEmpty: Bool { entries.isEmpty }

    /// No keys.
    public init() { entries = [] }

    /// - Parameters:
    ///   - files: keys of workers; without others for operators, good for both roles.
    ///   - operatorFiles: keys of operators.
    /// - Throws: `unusable_key_file`; `limit_exceeded` when there are more than a rotation needs.
    public init(
        files: [String], operatorFiles: [String] = [], limits: Limits = .standard
    ) throws(ControlError) {
        for (option, files) in [("--key-file", files), ("--operator-key-file", operatorFiles)]
        where files.count > limits.keysPerRole {
            throw ControlError(
                .limitExceeded,
                "\(option) is given \(files.count) times, over the limit of \(limits.keysPerRole) (keys)")
        }
        let workerRoles: Set<ControlRole> = operatorFiles.isEmpty ? [.worker, .operator] : [.worker]
        var entries: [Entry] = []
        for (file, roles) in files.map({ ($0, workerRoles) }) + operatorFiles.map({ ($0, [.operator]) }) {
            let key = try ControlKey(file: file)
            guard !entries.contains(where: { $0.key == key }) else {
                throw ControlError(.unusableKeyFile, "the key file \(file) has the same key as another; give each once")
            }
            entries.append(Entry(key: key, roles: roles))
        }
        self.entries = entries
    }

    /// Answers a client's first message.
    /// - Returns: the second message, what the connection goes on with, and its roles; nil when the message was made with
    ///   none of the keys.
    func answer(_ message: Data) -> Answer? {
        for entry in entries {
            var handshake = NoiseHandshake(key: entry.key.bytes, prologue: SecureStream.prologue)
            guard (try? handshake.read(message)) != nil, let reply = try? handshake.write() else { continue }
            return Answer(message: reply, transport: handshake.finish(), roles: entry.roles)
        }
        return nil
    }

    struct Answer: ~Copyable {
        let message: Data
        let transport: NoiseTransport
        let roles: Set<ControlRole>
    }
}
