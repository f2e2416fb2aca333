import FlyingSocks
import Foundation

package enum ListeningSocket {
    /// Listens for TCP connections.
    /// - Returns: with where it listens; the port is the one that the system chose if 0 was asked for.
    package static func open(
        _ address: some SocketAddress, limits: Limits
    ) throws -> (socket: Socket, endpoint: Endpoint) {
        let socket = try Socket(domain: Int32(address.family), type: .stream)
        let endpoint: Endpoint
        do {
            // A restart must not wait for the old connections to time out.
            try socket.setValue(true, for: .localAddressReuse)
            try socket.bind(to: address)
            switch try socket.sockname() {
            case .ip4(let host, let port), .ip6(let host, let port): endpoint = Endpoint(host: host, port: port)
            case .unix: throw SocketError.unsupportedAddress
            }
        } catch {
            try? socket.close()
            throw error
        }
        // Closes the socket itself when it fails.
        try socket.listen(maxPendingConnection: Int32(clamping: limits.pendingConnections))
        return (socket, endpoint)
    }
}
