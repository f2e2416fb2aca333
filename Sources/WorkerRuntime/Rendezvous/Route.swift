import ControlProtocol
import FlyingSocks
import Foundation

/// The way from this machine to another, as the kernel would choose it.
struct Route {
    /// This machine's address on it.
    let localAddress: String
    let isLoopback: Bool
    private let isIPv6: Bool

    /// All addresses of this machine.
    var anyAddress: String { isIPv6 ? "::" : "0.0.0.0" }
    /// One that other machines cannot reach.
    var loopbackAddress: String { isLoopback ? localAddress : isIPv6 ? "::1" : "127.0.0.1" }

    /// Sends nothing: a UDP socket that is connected has an address (RFC 1122, section 4.1.3.5).
    static func toward(_ endpoint: Endpoint) async throws -> Route {
        var failure: any Error = WorldNotFormed(description: "\(endpoint) has no address")
        for address in try await SocketAddresses.resolve(endpoint) {
            do {
                let socket = try Socket(domain: Int32(address.family), type: .datagram)
                defer { try? socket.close() }
                try socket.connect(to: address)
                switch try socket.sockname() {
                case .ip4(let host, _):
                    return Route(localAddress: host, isLoopback: host.hasPrefix("127."), isIPv6: false)
                case .ip6(let host, _): return Route(localAddress: host, isLoopback: host == "::1", isIPv6: true)
                case .unix: continue
                }
            } catch {
                failure = error
            }
        }
        throw failure
    }
}
