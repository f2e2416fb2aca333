import FlyingSocks
import Foundation

/// Connects to the first address of a host that answers.
enum SocketConnector {
    static func connect(to endpoint: Endpoint, timeout: Duration) async throws(ControlError) -> AsyncSocket {
        let result: Result<AsyncSocket, ControlError>?
        do {
            result = try await withDeadline(timeout) { await attempt(endpoint) }
        } catch {
            throw ControlError(.cancelled, "connecting to \(endpoint) was cancelled")
        }
        guard let result else {
            throw ControlError(.timedOut, "no coordinator answered at \(endpoint) within \(timeout)")
        }
        return try result.get()
    }

    private static func attempt(_ endpoint: Endpoint) async -> Result<AsyncSocket, ControlError> {
        let addresses: [any SocketAddress]
        do { addresses = try await SocketAddresses.resolve(endpoint) } catch { return .failure(error) }
        var reason = "it has no address"
        for address in addresses {
            if Task.isCancelled { break }
            do {
                return .success(try await open(address))
            } catch {
                reason = describe(error)
            }
        }
        return .failure(ControlError(.connectionFailed, "cannot connect to the coordinator at \(endpoint): \(reason)"))
    }

    private static func open(_ address: some SocketAddress) async throws -> AsyncSocket {
        let socket = try Socket(domain: Int32(address.family), type: .stream)
        do {
            // Requests and answers are single small writes, which Nagle's algorithm would hold back.
            try socket.setValue(true, for: BoolSocketOption(level: Int32(IPPROTO_TCP), name: TCP_NODELAY))
            let connection = try await AsyncSocket(socket: socket, pool: .client)
            do {
                try await connection.connect(to: address)
            } catch SocketError.disconnected {
                // The pool tells only that the attempt failed; the socket knows why.
                let code = try socket.getValue(for: Int32SocketOption(name: SO_ERROR))
                throw SocketError.failed(type: "Connect", errno: code, message: String(cString: strerror(code)))
            }
            return connection
        } catch {
            try? socket.close()
            throw error
        }
    }

    private static func describe(_ error: any Error) -> String {
        switch error {
        case SocketError.failed(_, _, let message): message
        default: "\(error)"
        }
    }
}
