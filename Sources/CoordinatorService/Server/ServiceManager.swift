import Foundation
import Logging

/// Tells systemd how the coordinator does, when systemd started it with `Type=notify`: datagrams to the socket that the
/// environment names (https://www.freedesktop.org/software/systemd/man/sd_notify.html).
public struct ServiceManager: Sendable {
    /// systemd ends the process when it is silent for so long; nil: it does not watch.
    package let watchdogInterval: Duration?
    /// A `sockaddr_un` without the bytes that its name does not have.
    private let address: [UInt8]
    private let logger: Logger

    /// - Returns: nil when nobody wants to be told.
    public init?(
        environment: [String: String] = ProcessInfo.processInfo.environment,
        logger: Logger = Logger(label: "moe.coordinator")
    ) {
        guard let name = environment["NOTIFY_SOCKET"], !name.isEmpty else { return nil }
        self.logger = logger
        guard let address = Self.address(name) else {
            logger.warning("NOTIFY_SOCKET is no address of a socket", metadata: ["value": "\(name)"])
            return nil
        }
        self.address = address
        let isMeant = environment["WATCHDOG_PID"].map { $0 == "\(getpid())" } ?? true
        watchdogInterval = environment["WATCHDOG_USEC"].flatMap(Int64.init).flatMap { microseconds in
            isMeant && microseconds > 0 ? .microseconds(microseconds) : nil
        }
    }

    /// - Parameter name: a path, or a name in the abstract namespace with "@" in front (unix(7)).
    private static func address(_ name: String) -> [UInt8]? {
        let family = withUnsafeBytes(of: sa_family_t(AF_UNIX)) { Array($0) }
        let room = MemoryLayout.size(ofValue: sockaddr_un().sun_path)
        switch name.utf8.first {
        case UInt8(ascii: "/") where name.utf8.count < room: return family + name.utf8 + [0]
        case UInt8(ascii: "@") where (2...room).contains(name.utf8.count): return family + [0] + name.utf8.dropFirst()
        default: return nil
        }
    }

    /// The coordinator takes connections.
    func tellReady() { send("READY=1\nSTATUS=Ready.") }

    /// The coordinator has begun to end.
    func tellStopping() { send("STOPPING=1") }

    /// Until cancellation: tells four times in each of systemd's intervals that the process is alive, as long as it is. A state
    /// that a new process would be in as well, such as a full disk, is only told in words.
    package func watch(_ checks: () async -> [Health.Check]) async {
        let interval = watchdogInterval ?? .seconds(60)
        while (try? await Task.sleep(for: interval / 4)) != nil {
            let failures = await checks().filter { $0.failure != nil }
            let words = failures.map { "\($0.name): \($0.failure ?? "")" }.joined(separator: "; ")
            let isAlive = !failures.contains(where: \.isCuredByRestart)
            if !isAlive { logger.error("not well; the watchdog is not told of life", metadata: ["reason": "\(words)"]) }
            let status = "STATUS=" + (failures.isEmpty ? "Ready." : "Not ready: \(words)")
            send(isAlive && watchdogInterval != nil ? "WATCHDOG=1\n" + status : status)
        }
    }

    private func send(_ message: String) {
        let socket = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { return complain() }
        defer { close(socket) }
        let sent = address.withUnsafeBytes { address in
            message.utf8CString.withUnsafeBytes { text in
                sendto(
                    socket, text.baseAddress, text.count - 1, Int32(MSG_NOSIGNAL),
                    address.baseAddress?.assumingMemoryBound(to: sockaddr.self), socklen_t(address.count))
            }
        }
        if sent < 0 { complain() }
    }

    private func complain() {
        logger.warning("cannot tell systemd", metadata: ["reason": "\(String(cString: strerror(errno)))"])
    }
}
