import ControlProtocol
import FlyingSocks
import Foundation
import Synchronization

/// A listening socket: on the loopback interface, or where clients have to show who they are on any.
public final class Listener: Sendable {
    let socket: Socket
    /// Guards the descriptor: after it was closed its number may be another socket's.
    private let isOpen = Mutex(true)
    /// What clients must have one of, if there are any.
    let keys: AcceptedKeys
    /// Where it listens; the port is the one that the system chose if 0 was asked for.
    public let endpoint: Endpoint

    /// Listens for the control protocol.
    /// - Throws: `ControlError` with one line for the operator.
    public convenience init(
        _ endpoint: Endpoint, keys: AcceptedKeys = AcceptedKeys(), limits: Limits = .standard
    ) async throws(ControlError) {
        try await self.init(
            endpoint, keys: keys, isAuthenticated: !keys.isEmpty,
            secret: "key", advice: "make one with moe-ctl key generate FILE and give it with --key-file FILE",
            limits: limits)
    }

    /// Listens for questions over HTTP.
    /// - Parameter hasToken: whether clients have to send a token.
    /// - Throws: `ControlError` with one line for the operator.
    public convenience init(
        http endpoint: Endpoint, hasToken: Bool, limits: Limits = .standard
    ) async throws(ControlError) {
        try await self.init(
            endpoint, keys: AcceptedKeys(), isAuthenticated: hasToken,
            secret: "token", advice: "make one with openssl rand -hex 32 and give its file with --http-token-file FILE",
            limits: limits)
    }

    /// - Parameters:
    ///   - secret: what authenticates clients.
    ///   - advice: how the operator can have that.
    private init(
        _ endpoint: Endpoint, keys: AcceptedKeys, isAuthenticated: Bool, secret: String, advice: String, limits: Limits
    ) async throws(ControlError) {
        self.keys = keys
        let addresses = try await SocketAddresses.resolve(endpoint)
        guard let address = addresses.first else {
            throw ControlError(.unresolvedHost, "the host \"\(endpoint.host)\" has no address")
        }
        guard isAuthenticated || addresses.allSatisfy(SocketAddresses.isLoopback) else {
            throw ControlError(
                .connectionFailed,
                "will not listen on \(endpoint) without a \(secret): connections are not authenticated then, so only this machine "
                    + "may reach the coordinator; \(advice), or use 127.0.0.1:\(endpoint.port)")
        }
        do {
            (socket, self.endpoint) = try ListeningSocket.open(address, limits: limits)
        } catch {
            throw ControlError(.connectionFailed, "cannot listen on \(endpoint): \(Self.describe(error))")
        }
    }

    private static func describe(_ error: any Error) -> String {
        switch error {
        case SocketError.failed(_, EADDRINUSE, _): "the port is in use, perhaps by another coordinator"
        case SocketError.failed(_, EACCES, _): "the port is reserved; use one from 1024"
        case SocketError.failed(_, _, let message): message
        default: "\(error)"
        }
    }

    deinit {
        close()
    }

    /// Makes a waiting `accept` return, and later ones fail.
    func interrupt() {
        isOpen.withLock { isOpen in
            if isOpen { _ = Glibc.shutdown(socket.file.rawValue, Int32(SHUT_RDWR)) }
        }
    }

    /// While nobody waits in `accept`.
    func close() {
        isOpen.withLock { isOpen in
            if isOpen { try? socket.close() }
            isOpen = false
        }
    }
}
