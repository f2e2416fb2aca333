import Foundation
import Synchronization

/// The requests of one client that wait for their answers.
final class PendingReplies: Sendable {
    typealias Outcome = Result<Data, ControlError>

    private enum Entry {
        /// Its caller is about to wait.
        case made
        case waiting(CheckedContinuation<Outcome, Never>)
        /// Its caller has the outcome, or gave up before it waited.
        case ended(ControlError?)
    }

    private struct State {
        var nextID = 1
        var entries: [Int: Entry] = [:]
        /// Why there will be no more answers.
        var end: ControlError?
        /// Whether a request has met it.
        var isEndTold = false
    }

    private let state = Mutex(State())
    private let limits: Limits

    init(limits: Limits) {
        self.limits = limits
    }

    /// Whether there will be no more answers.
    var hasEnded: Bool { state.withLock { $0.end != nil } }

    /// A request id that was not used before; `forget` it at the end.
    /// - Throws: `overloaded` when too many requests wait; why the connection ended, when no other request has met that, and from
    ///   then on that it is closed.
    func makeID() throws(ControlError) -> Int {
        try state.withLock { state throws(ControlError) in
            if let end = state.end {
                defer { state.isEndTold = true }
                throw state.isEndTold ? end.toldAgain : end
            }
            guard state.entries.count < limits.requestsInFlight else {
                throw ControlError(
                    .overloaded,
                    "\(limits.requestsInFlight) requests wait for their answers already (requests in flight)")
            }
            defer { state.nextID += 1 }
            state.entries[state.nextID] = .made
            return state.nextID
        }
    }

    func forget(_ id: Int) {
        state.withLock { _ = $0.entries.removeValue(forKey: id) }
    }

    /// Waits for the answer to `id`; `send` is called once the answer can be received.
    func outcome(of id: Int, send: () -> Void) async -> Outcome {
        await withCheckedContinuation { continuation in
            let early: ControlError? = state.withLock { state in
                if let end = state.end {
                    state.isEndTold = true
                    return end
                }
                if case .ended(let reason?) = state.entries[id] { return reason }
                state.entries[id] = .waiting(continuation)
                return nil
            }
            if let early {
                continuation.resume(returning: .failure(early))
            } else {
                send()
            }
        }
    }

    /// Hands an answer to who waits for it. Nobody does after a time-out.
    func resolve(_ id: Int, _ outcome: Outcome) {
        finish(id, nil)?.resume(returning: outcome)
    }

    /// The caller of `id` no longer waits, or is not going to.
    func abandon(_ id: Int, _ reason: ControlError) {
        finish(id, reason)?.resume(returning: .failure(reason))
    }

    private func finish(_ id: Int, _ reason: ControlError?) -> CheckedContinuation<Outcome, Never>? {
        state.withLock { state in
            switch state.entries[id] {
            case .waiting(let continuation):
                state.entries[id] = .ended(nil)
                return continuation
            case .made:
                state.entries[id] = .ended(reason)
                return nil
            case .ended, nil:
                return nil
            }
        }
    }

    /// No more answers will come.
    func end(_ reason: ControlError) {
        let waiting = state.withLock { state in
            if state.end == nil { state.end = reason }
            var waiting = [CheckedContinuation<Outcome, Never>]()
            for (id, entry) in state.entries {
                if case .waiting(let continuation) = entry {
                    waiting.append(continuation)
                    state.entries[id] = .ended(nil)
                    state.isEndTold = true
                }
            }
            return waiting
        }
        for continuation in waiting { continuation.resume(returning: .failure(reason)) }
    }
}

extension ControlError {
    /// Why a connection has ended, to requests that came afterwards. A refusal was not of them: another connection may take them.
    fileprivate var toldAgain: ControlError {
        if [.connectionClosed, .tampered].contains(code) { return self }
        return ControlError(.connectionClosed, "the connection to the coordinator is closed: \(message)")
    }
}
