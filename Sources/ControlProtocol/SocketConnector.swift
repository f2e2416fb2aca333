import FlyingSocks
import Foundation

/// Connects to the first address of a host that answers.
package enum SocketConnector {
    /// - Parameters:
    ///   - key: what the coordinator must have; nil: the connection is not encrypted.
    ///   - timeout: for the connection, and again for the handshake.
    package static func connect(
        to endpoint: Endpoint, key: ControlKey?, timeout: Duration
    ) async throws(ControlError) -> SecureStream {
        // A connection that was made at the last moment is not wanted any more.
        let socket = try await limit(
            to: timeout, endpoint, whenLate: "no coordinator answered at \(endpoint) within \(timeout)",
            discard: { try? $0.close() }, body: { await attempt(endpoint) })
        guard let key else { return SecureStream(socket) }
        do throws(ControlError) {
            return try await limit(
                to: timeout, endpoint,
                whenLate: "the coordinator at \(endpoint) did not answer the handshake within \(timeout); was it "
                    + "started with --key-file?", discard: { _ in },
                body: {
                    do throws(ControlError) {
                        return .success(try await SecureStream.initiate(over: socket, to: endpoint, key: key))
                    } catch {
                        return .failure(error)
                    }
                })
        } catch {
            try? socket.close()
            throw error
        }
    }

    private static func limit<Value: Sendable>(
        to timeout: Duration, _ endpoint: Endpoint, whenLate message: String, discard: (Value) -> Void,
        body: @escaping @Sendable () async -> Result<Value, ControlError>
    ) async throws(ControlError) -> Value {
        let result = await withTaskGroup(of: Result<Value, ControlError>?.self) { group in
            group.addTask { await body() }
            group.addTask {
                try? await Task.sleep(for: timeout)
                return nil
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            if first == nil, case .success(let late)?? = await group.next() { discard(late) }
            return first
        }
        if let result { return try result.get() }
        throw Task.isCancelled
            ? ControlError(.cancelled, "connecting to \(endpoint) was cancelled") : ControlError(.timedOut, message)
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
            let connection = try AsyncSocket(socket: socket, pool: SocketReadiness.shared)
            try await connection.connect(to: address)
            return connection
        } catch {
            try? socket.close()
            throw error
        }
    }

    package static func describe(_ error: any Error) -> String {
        switch error {
        case SocketError.failed(_, _, let message): message
        default: "\(error)"
        }
    }
}
