import Dispatch
import FlyingSocks
import Foundation

/// Addresses of hosts, by the system's resolver.
public enum SocketAddresses {
    /// The stream addresses of `endpoint`, in the resolver's order (RFC 6724).
    ///
    /// The resolver blocks, so it runs on a thread of Dispatch's; when the caller is cancelled it is left to end by itself.
    /// - Throws: `unresolved_host`.
    public static func resolve(_ endpoint: Endpoint) async throws(ControlError) -> [sockaddr_storage] {
        let result = await withCheckedContinuation { continuation in
            DispatchQueue.global().async {
                continuation.resume(returning: Result { () throws(ControlError) in try lookUp(endpoint) })
            }
        }
        return try result.get()
    }

    /// Whether only programs on this machine can reach `address`.
    public static func isLoopback(_ address: sockaddr_storage) -> Bool {
        switch try? Socket.makeAddress(from: address) {
        case .ip4(let text, _): text.hasPrefix("127.")
        case .ip6(let text, _): text == "::1" || text.hasPrefix("::ffff:127.")
        case .unix, nil: false
        }
    }

    private static func lookUp(_ endpoint: Endpoint) throws(ControlError) -> [sockaddr_storage] {
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
        var addresses = [sockaddr_storage]()
        var entry = list
        while let current = entry {
            var storage = sockaddr_storage()
            let length = Int(current.pointee.ai_addrlen)
            if let address = current.pointee.ai_addr, length <= MemoryLayout<sockaddr_storage>.size {
                memcpy(&storage, address, length)
                addresses.append(storage)
            }
            entry = current.pointee.ai_next
        }
        return addresses
    }
}
