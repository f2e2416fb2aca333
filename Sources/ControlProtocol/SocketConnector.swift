import FlyingSocks
import Foundation

/// Connects to the first address of a host that answers.
enum SocketConnector {
    static func connect(to endpoint: Endpoint, timeout: Duration) async throws(ControlError) -> AsyncSocket {
        let result = await withTaskGroup(of: Result<AsyncSocket, ControlError>?.self) { group in
            group.addTask { await attempt(endpoint) }
            group.addTask {
                try? await Task.sleep(for: timeout)
                return nil
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            // A connection that was made at the last moment is not wanted any more.
            if first == nil, case .success(let late)?? = await group.next() { try? late.close() }
            return first
        }
        if let result { return try result.get() }
        throw Task.isCancelled
            ? ControlError(.cancelled, "connecting to \(endpoint) was cancelled")
            : ControlError(.timedOut, "no coordinator answered at \(endpoint) within \(timeout)")
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

    static func describe(_ error: any Error) -> String {
        switch error {
        case SocketError.failed(_, _, let message): message
        default: "\(error)"
        }
    }
}
