import FlyingSocks
import Foundation

extension SecureStream {
    /// The length of a handshake's message. A frame that begins so has more than three million bytes.
    private static let handshakeHeader = [0, UInt8(NoiseHandshake.messageBytes)]

    /// Makes sure that `socket` leads to a coordinator with `key`.
    /// - Throws: `unauthenticated` when it does not; what it refuses the connection with; `connection_closed`.
    package static func initiate(
        over socket: AsyncSocket, to endpoint: Endpoint, key: ControlKey
    ) async throws(ControlError) -> SecureStream {
        do {
            var handshake = NoiseHandshake(key: key.bytes, prologue: prologue)
            try await socket.write(record(handshake.write()))
            let header = try await socket.read(bytes: headerBytes)
            guard header == handshakeHeader else {
                throw try await refusal(from: socket, startingWith: header, endpoint)
            }
            _ = try await handshake.read(Data(socket.read(bytes: NoiseHandshake.messageBytes)))
            return SecureStream(socket, handshake.finish())
        } catch let error as ControlError {
            throw error
        } catch is NoiseError {
            throw ControlError(
                .unauthenticated, "what answers at \(endpoint) does not have the key of this program (--key-file)")
        } catch is CancellationError {
            throw ControlError(.cancelled, "the handshake with \(endpoint) was cancelled")
        } catch SocketError.disconnected {
            throw ControlError(
                .connectionClosed, "the coordinator at \(endpoint) closed the connection during the handshake")
        } catch {
            throw ControlError(
                .connectionClosed,
                "the connection to the coordinator at \(endpoint) is closed: \(SocketConnector.describe(error))")
        }
    }

    /// What a plain frame in place of a handshake's message means. Anybody on the way may have sent it, so its text is not shown.
    private static func refusal(
        from socket: AsyncSocket, startingWith header: [UInt8], _ endpoint: Endpoint
    ) async throws -> ControlError {
        let rest = try await socket.read(bytes: Frame.headerBytes - header.count)
        let length = (header + rest).reduce(0) { $0 << 8 | Int($1) }
        // Error messages are short.
        guard length <= 4_096, let payload = try? await socket.read(bytes: length),
            let code = try? MessageCodec.reply(Data(payload), as: ErrorReply.self).code
        else { return ControlError(.protocolViolation, "what answers at \(endpoint) is no coordinator") }
        switch code {
        case .overloaded:
            return ControlError(.overloaded, "the coordinator at \(endpoint) has too many connections; try again later")
        case .unsupported:
            return ControlError(
                .unauthenticated,
                "the coordinator at \(endpoint) has no keys, it says; start moe-coordinator serve with --key-file, or leave "
                    + "this program's key file out, which --key-file, MOE_KEY_FILE or its configuration file names "
                    + "(--key-file '' wins over the other two)")
        default:
            return ControlError(
                .unauthenticated,
                "the coordinator at \(endpoint) does not take this program's key; name the file with one that "
                    + "moe-coordinator serve was started with (--key-file)")
        }
    }

    /// Lets a client in that has one of `keys`; any, when there are none.
    /// - Returns: the connection, and what it may ask for.
    /// - Throws: `unauthenticated`; what the socket throws.
    public static func accept(
        _ socket: AsyncSocket, keys: AcceptedKeys
    ) async throws -> (stream: SecureStream, roles: Set<ControlRole>) {
        guard !keys.isEmpty else { return (SecureStream(socket), Set(ControlRole.allCases)) }
        guard try await socket.read(bytes: headerBytes) == handshakeHeader else {
            throw ControlError(
                .unauthenticated,
                "this coordinator takes encrypted connections only, made with one of its keys: name the key file with "
                    + "--key-file or MOE_KEY_FILE")
        }
        let message = try await Data(socket.read(bytes: NoiseHandshake.messageBytes))
        guard let answer = keys.answer(message) else {
            throw ControlError(
                .unauthenticated, "the key is none of this coordinator's; name the right key file with --key-file")
        }
        try await socket.write(record(answer.message))
        let roles = answer.roles
        return (SecureStream(socket, answer.transport), roles)
    }

    /// Whether a client without a frame to send begins with a handshake, which a coordinator without keys has no answer to.
    public static func isHandshake(_ bytes: [UInt8]) -> Bool {
        // What is in a frame of so many bytes is text, which random bytes are not.
        bytes.count == headerBytes + NoiseHandshake.messageBytes && bytes.starts(with: handshakeHeader)
            && String(validating: bytes.dropFirst(Frame.headerBytes), as: UTF8.self) == nil
    }
}
