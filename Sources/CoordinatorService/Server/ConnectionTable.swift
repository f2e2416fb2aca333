import ControlProtocol
import FlyingSocks
import Foundation
import Synchronization

/// The open connections of a server: how many there may be, until when each may take, and how all of them end.
///
/// A connection is ended from outside by shutting down its socket: whoever reads or writes it then gets an error. Entries
/// are removed before sockets are closed, so that no other connection's socket is hit.
final class ConnectionTable: Sendable {
    /// Stands still while the machine sleeps.
    typealias Instant = SuspendingClock.Instant

    private struct Entry {
        let socket: Socket
        /// When the connection is ended; nil: not by time.
        var deadline: Instant?
        var isStream = false
    }

    private struct State {
        var entries: [Int: Entry] = [:]
        var streams = 0
        var nextID = 0
        var bufferedBytes = 0
        /// Those among them that wait for clients to take them.
        var answerBytes = 0
        var isAccepting = false
        /// Since when the server stops, if it does.
        var endOfShutdown: Instant?
    }

    private let state = Mutex(State())
    private let limits: Limits

    init(limits: Limits) {
        self.limits = limits
    }

    var count: Int { state.withLock { $0.entries.count } }
    var streamCount: Int { state.withLock { $0.streams } }
    var isStopping: Bool { state.withLock { $0.endOfShutdown != nil } }

    /// Whether somebody takes connections, as far as is known.
    var isAccepting: Bool { state.withLock { $0.isAccepting } }

    func setAccepting(_ isAccepting: Bool) {
        state.withLock { $0.isAccepting = isAccepting }
    }

    /// - Returns: the connection's number; nil when there are too many, or the server stops.
    func add(_ socket: Socket) -> Int? {
        state.withLock { state in
            guard state.entries.count - state.streams < limits.connections, state.endOfShutdown == nil else {
                return nil
            }
            state.nextID += 1
            state.entries[state.nextID] = Entry(socket: socket, deadline: .now + limits.idleTime)
            return state.nextID
        }
    }

    /// Before the socket is closed.
    func remove(_ id: Int) {
        state.withLock { state in
            if state.entries.removeValue(forKey: id)?.isStream == true { state.streams -= 1 }
        }
    }

    /// From here on the connection is one of the streams, which are counted apart.
    /// - Returns: false, and changes nothing, when there are too many.
    func makeStream(_ id: Int) -> Bool {
        state.withLock { state in
            guard state.streams < limits.httpStreams, state.entries[id]?.isStream == false else { return false }
            state.entries[id]?.isStream = true
            state.streams += 1
            return true
        }
    }

    func setDeadline(_ id: Int, after duration: Duration?) {
        let deadline = duration.map { Instant.now + $0 }
        state.withLock { $0.entries[id]?.deadline = deadline }
    }

    /// Counts `bytes` more (or fewer) that are held for requests.
    /// - Returns: false, and counts nothing, when that is too much for the server.
    func hold(_ bytes: Int) -> Bool {
        state.withLock { state in
            guard bytes <= 0 || state.bufferedBytes + bytes <= limits.bufferedBytes else { return false }
            state.bufferedBytes += bytes
            return true
        }
    }

    /// Counts `bytes` more (or fewer) of answers that clients have not taken yet.
    /// - Parameter always: whether there is room or not.
    /// - Returns: false, and counts nothing, when that is more than half of what the server holds at most, or too much with requests.
    func holdAnswer(_ bytes: Int, always: Bool = false) -> Bool {
        state.withLock { state in
            let hasRoom =
                state.answerBytes + bytes <= limits.bufferedBytes / 2
                && state.bufferedBytes + bytes <= limits.bufferedBytes
            guard bytes <= 0 || always || hasRoom else { return false }
            state.answerBytes += bytes
            state.bufferedBytes += bytes
            return true
        }
    }

    /// Ends the connections whose time is over.
    func endOverdue(now: Instant = .now) {
        state.withLock { state in
            let shutdownIsOver = state.endOfShutdown.map { $0 <= now } ?? false
            for (id, entry) in state.entries where shutdownIsOver || entry.deadline.map({ $0 <= now }) ?? false {
                _ = Glibc.shutdown(entry.socket.file.rawValue, Int32(SHUT_RDWR))
                state.entries[id]?.deadline = nil
            }
        }
    }

    /// Lets open requests finish, and no further ones come.
    func stop() {
        state.withLock { state in
            guard state.endOfShutdown == nil else { return }
            state.endOfShutdown = .now + limits.shutdownTime
            for entry in state.entries.values { _ = Glibc.shutdown(entry.socket.file.rawValue, Int32(SHUT_RD)) }
        }
    }
}
