import Dispatch
import FlyingSocks
import Foundation
import Synchronization

/// Addresses of hosts, by the system's resolver.
public enum SocketAddresses {
    /// The stream addresses of `endpoint`, in the resolver's order (RFC 6724).
    ///
    /// Each is a `sockaddr_in` or `sockaddr_in6`: FlyingSocks 0.27.1 recurses without end when a `sockaddr_storage` is asked for
    /// its size. The resolver blocks, so it runs on a thread of Dispatch's; when the caller is cancelled it is left to end by itself.
    /// - Throws: `unresolved_host`.
    public static func resolve(_ endpoint: Endpoint) async throws(ControlError) -> [any SocketAddress] {
        let waiting = WaitingLookUp()
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                waiting.begin(continuation)
                DispatchQueue.global().async {
                    waiting.end(Result { () throws(ControlError) in try lookUp(endpoint) })
                }
                if Task.isCancelled { waiting.end(.failure(.lookUpCancelled(endpoint))) }
            }
        } onCancel: {
            waiting.end(.failure(.lookUpCancelled(endpoint)))
        }
        return try result.get()
    }

    /// Whether only programs on this machine can reach `address`.
    public static func isLoopback(_ address: any SocketAddress) -> Bool {
        switch address {
        case let address as sockaddr_in:
            // 127.0.0.0/8, RFC 1122 section 3.2.1.3.
            return UInt32(bigEndian: address.sin_addr.s_addr) >> 24 == 127
        case let address as sockaddr_in6:
            // ::1, RFC 4291 section 2.5.3.
            return withUnsafeBytes(of: address.sin6_addr) { $0.dropLast().allSatisfy { $0 == 0 } && $0.last == 1 }
        default:
            return false
        }
    }

    private static func lookUp(_ endpoint: Endpoint) throws(ControlError) -> [any SocketAddress] {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_NUMERICSERV
        var list: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(endpoint.host, String(endpoint.port), &hints, &list)
        guard status == 0 else {
            let reason = String(cString: gai_strerror(status))
            throw ControlError(.unresolvedHost, "the host \"\(endpoint.host)\" cannot be resolved: \(reason)")
        }
        defer { freeaddrinfo(list) }
        var addresses = [any SocketAddress]()
        var entry = list
        while let current = entry?.pointee {
            if let bytes = UnsafeRawPointer(current.ai_addr) {
                switch current.ai_family {
                case AF_INET: addresses.append(bytes.loadUnaligned(as: sockaddr_in.self))
                case AF_INET6: addresses.append(bytes.loadUnaligned(as: sockaddr_in6.self))
                default: break
                }
            }
            entry = current.ai_next
        }
        return addresses
    }
}

/// Who waits for a look-up: it ends with the answer or with the task's cancellation, whichever comes first.
private final class WaitingLookUp: Sendable {
    typealias Outcome = Result<[any SocketAddress], ControlError>

    private let continuation = Mutex<CheckedContinuation<Outcome, Never>?>(nil)

    func begin(_ continuation: CheckedContinuation<Outcome, Never>) {
        self.continuation.withLock { $0 = continuation }
    }

    func end(_ outcome: Outcome) {
        let waiting = continuation.withLock { continuation in
            defer { continuation = nil }
            return continuation
        }
        waiting?.resume(returning: outcome)
    }
}

extension ControlError {
    fileprivate static func lookUpCancelled(_ endpoint: Endpoint) -> ControlError {
        ControlError(.cancelled, "looking up the host \"\(endpoint.host)\" was cancelled")
    }
}
