import CGlibc
import FlyingSocks
import Foundation
import Synchronization

/// Wakes tasks when sockets can be read or written, for all of FlyingSocks' asynchronous calls.
///
/// FlyingSocks 0.27.1 has a pool of its own, which knows waiting tasks by descriptor and resumes a task before it forgets the
/// descriptor (`SocketPool.resumeContinuation`). A task that closes its socket in between leaves an entry behind, and the next
/// socket of that number may wait for ever. Here a wait is known by a number that is never used twice, and the kernel hands out
/// each readiness once (`EPOLLONESHOT`, epoll_ctl(2)), so there is nothing to leave behind.
///
/// A socket must not be closed while a task waits for it: cancel the task, or shut the socket down, first.
public final class SocketReadiness: AsyncSocketPool {
    /// One thread waits for all sockets of the process.
    public static let shared = SocketReadiness()

    private struct Waiter {
        let id: UInt64
        let events: UInt32
        let continuation: CheckedContinuation<Void, any Error>
    }

    /// The waits for one socket.
    private struct Entry {
        /// What the kernel hands back.
        let key: UInt64
        var waiters: [Waiter]
        var events: UInt32 { waiters.reduce(0) { $0 | $1.events } }
    }

    private struct State {
        var lastID: UInt64 = 0
        var entries: [Int32: Entry] = [:]
        var descriptors: [UInt64: Int32] = [:]

        mutating func makeID() -> UInt64 {
            lastID += 1
            return lastID
        }
    }

    private let state = Mutex(State())
    private let queue: Int32
    /// Why there is no queue.
    private let failure: SocketError?

    private init() {
        queue = epoll_create1(Int32(EPOLL_CLOEXEC))
        failure = queue < 0 ? SocketError.makeFailed("epoll_create1") : nil
        guard failure == nil else { return }
        Thread.detachNewThread { [unowned self] in deliver() }
    }

    public func prepare() async throws {}
    public func run() async throws {}

    /// Returns when `socket` may be ready for one of `events`, also when it was shut down or has an error: the call that is made
    /// then tells.
    /// - Throws: `CancellationError`; `SocketError` when the system refuses.
    public func suspendSocket(_ socket: Socket, untilReadyFor events: Socket.Events) async throws {
        if let failure { throw failure }
        let descriptor = socket.file.rawValue
        let id = state.withLock { $0.makeID() }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let waiter = Waiter(id: id, events: events.mask, continuation: continuation)
                if let error = add(waiter, for: descriptor) { continuation.resume(throwing: error) }
                // The handler below may have run before there was anything to cancel.
                if Task.isCancelled { cancel(id, descriptor) }
            }
        } onCancel: {
            cancel(id, descriptor)
        }
    }

    private func add(_ waiter: Waiter, for descriptor: Int32) -> SocketError? {
        state.withLock { state in
            var entry = state.entries[descriptor] ?? Entry(key: state.makeID(), waiters: [])
            entry.waiters.append(waiter)
            if let error = arm(entry, descriptor) { return error }
            state.entries[descriptor] = entry
            state.descriptors[entry.key] = descriptor
            return nil
        }
    }

    private func cancel(_ id: UInt64, _ descriptor: Int32) {
        let waiter: Waiter? = state.withLock { state in
            guard let index = state.entries[descriptor]?.waiters.firstIndex(where: { $0.id == id }) else { return nil }
            let waiter = state.entries[descriptor]?.waiters.remove(at: index)
            if let entry = state.entries[descriptor], entry.waiters.isEmpty {
                state.entries[descriptor] = nil
                state.descriptors[entry.key] = nil
            }
            return waiter
        }
        waiter?.continuation.resume(throwing: CancellationError())
    }

    /// Asks the kernel for the next readiness of a socket. It may know the descriptor from before, or not.
    private func arm(_ entry: Entry, _ descriptor: Int32) -> SocketError? {
        var event = epoll_event()
        event.events = entry.events | EPOLLONESHOT.rawValue
        event.data.u64 = entry.key
        if epoll_ctl(queue, EPOLL_CTL_MOD, descriptor, &event) == 0 { return nil }
        if errno == ENOENT, epoll_ctl(queue, EPOLL_CTL_ADD, descriptor, &event) == 0 { return nil }
        return SocketError.makeFailed("epoll_ctl")
    }

    /// The thread's work, for as long as the process lives.
    private func deliver() {
        var events = [epoll_event](repeating: epoll_event(), count: 256)
        while true {
            let count = epoll_wait(queue, &events, Int32(events.count), -1)
            // Only a signal can interrupt: the queue is never closed.
            guard count > 0 else { continue }
            let ready = state.withLock { state in
                events[..<Int(count)].flatMap { take(key: $0.data.u64, events: $0.events, from: &state) }
            }
            for waiter in ready { waiter.continuation.resume() }
        }
    }

    /// Those whose wait is over; the others go on waiting.
    private func take(key: UInt64, events: UInt32, from state: inout State) -> [Waiter] {
        guard let descriptor = state.descriptors[key], var entry = state.entries[descriptor] else { return [] }
        let isBroken = events & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0
        let ready = entry.waiters.filter { isBroken || $0.events & events != 0 }
        entry.waiters.removeAll { isBroken || $0.events & events != 0 }
        if entry.waiters.isEmpty || arm(entry, descriptor) != nil {
            state.entries[descriptor] = nil
            state.descriptors[key] = nil
            // A wait that cannot go on ends, and the call that is made then tells why.
            return ready + entry.waiters
        }
        state.entries[descriptor] = entry
        return ready
    }
}

extension Socket.Events {
    fileprivate var mask: UInt32 {
        (contains(.read) ? EPOLLIN.rawValue : 0) | (contains(.write) ? EPOLLOUT.rawValue : 0)
    }
}
