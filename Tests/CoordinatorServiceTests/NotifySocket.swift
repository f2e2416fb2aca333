import Foundation

/// A socket that takes what programs tell systemd.
final class NotifySocket: Sendable {
    /// For `NOTIFY_SOCKET`.
    let name: String
    private let socket: Int32

    /// - Parameter name: a path, or "@" and a name in the abstract namespace.
    init(_ name: String) throws {
        self.name = name
        socket = Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        let family = withUnsafeBytes(of: sa_family_t(AF_UNIX)) { Array($0) }
        let isAbstract = name.hasPrefix("@")
        let address = family + (isAbstract ? [0] + name.utf8.dropFirst() : name.utf8 + [0])
        let result = address.withUnsafeBytes {
            bind(socket, $0.baseAddress?.assumingMemoryBound(to: sockaddr.self), socklen_t(address.count))
        }
        guard result == 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
    }

    deinit { close(socket) }

    /// The next message; nil when none comes within `seconds`.
    func next(seconds: Int32 = 60) -> String? {
        var watched = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
        guard poll(&watched, 1, seconds * 1_000) == 1 else { return nil }
        var bytes = [UInt8](repeating: 0, count: 4_096)
        let count = recv(socket, &bytes, bytes.count, 0)
        return count < 0 ? nil : String(decoding: bytes.prefix(count), as: UTF8.self)
    }

    /// Reads up to a message with the line `line`; false when none comes.
    func waits(for line: String) -> Bool {
        while let message = next() {
            if message.split(separator: "\n").contains(Substring(line)) { return true }
        }
        return false
    }
}
