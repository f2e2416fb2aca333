import ControlProtocol
import FlyingSocks
import Logging
import Synchronization

/// Logs clients whose connections were refused: the first at once, then how many came within each interval, so that nobody
/// fills the log. Never anything that a client sent.
package final class RefusalLog: Sendable {
    package typealias Instant = ContinuousClock.Instant

    private struct State {
        /// Until then refusals are counted.
        var end: Instant?
        var counts: [ControlError.Code: Int] = [:]
        var peer = ""
    }

    private let interval: Duration
    private let logger: Logger
    private let state = Mutex(State())

    package init(interval: Duration, logger: Logger) {
        self.interval = interval
        self.logger = logger
    }

    func add(_ code: ControlError.Code, from client: AsyncSocket) {
        add(code, from: (try? client.socket.remotePeer()).map(Self.text) ?? "unknown")
    }

    package func add(_ code: ControlError.Code, from peer: String, now: Instant = .now) {
        writeOverdue(now: now)
        let isFirst = state.withLock { state in
            if state.end == nil {
                state.end = now + interval
                return true
            }
            state.counts[code, default: 0] += 1
            state.peer = peer
            return false
        }
        guard isFirst else { return }
        logger.warning("refused a client", metadata: ["code": "\(code.rawValue)", "peer": "\(peer)"])
    }

    /// Logs what was counted, when its interval is over.
    package func writeOverdue(now: Instant = .now) {
        write(isOver: { $0 <= now }, next: now + interval)
    }

    /// Logs what was counted so far.
    package func writeRest() {
        write(isOver: { _ in true }, next: nil)
    }

    private func write(isOver: (Instant) -> Bool, next: Instant?) {
        let counted: State? = state.withLock { state in
            guard let end = state.end, isOver(end) else { return nil }
            let counted = state
            state = State(end: counted.counts.isEmpty ? nil : next)
            return counted.counts.isEmpty ? nil : counted
        }
        guard let counted else { return }
        let counts = counted.counts.map { ($0.key.rawValue, Logger.MetadataValue.stringConvertible($0.value)) }
        logger.warning(
            "refused more clients",
            metadata: ["counts": .dictionary(Dictionary(uniqueKeysWithValues: counts)), "last_peer": "\(counted.peer)"])
    }

    private static func text(_ address: Socket.Address) -> String {
        switch address {
        case .ip4(let host, let port), .ip6(let host, let port): "\(Endpoint(host: host, port: port))"
        case .unix(let path): path
        }
    }
}
