import ControlProtocol
import ExpertPlacement
import Logging
import Synchronization
import WorkerRuntime

/// A coordinator's side of `PlanChannel` whose answers the test decides.
final class FakePlans: Sendable {
    struct Away: Error {}

    struct State {
        var proposed: PlacementPlan?
        var isAway = false
        var isOver = false
        var refuses = Set<PlanProgress.Transition>()
        /// Messages that are taken, but whose acknowledgement is lost with the connection.
        var lostAcknowledgements = 0
        var received = [PlanProgress]()
        /// Steps of checkpoints.
        var checkpoints = [Int]()
        /// The revisions that came with questions.
        var polls = [Int]()
        /// Connections, and attempts to make one.
        var attempts = 0
        fileprivate var waiting = [Waiting]()

        var transitions: [PlanProgress.Transition] { received.map(\.transition) }
    }

    fileprivate struct Waiting {
        let condition: @Sendable (State) -> Bool
        let continuation: CheckedContinuation<Void, Never>
    }
    private let state = Mutex(State())

    /// Changes or reads the state, and lets those go on who waited for what it is now.
    @discardableResult
    func with<Value: Sendable>(_ body: (inout State) throws -> Value) rethrows -> Value {
        var ready = [Waiting]()
        defer { for waiting in ready { waiting.continuation.resume() } }
        return try state.withLock { state in
            defer {
                let now = state
                ready = now.waiting.filter { $0.condition(now) }
                state.waiting = now.waiting.filter { !$0.condition(now) }
            }
            return try body(&state)
        }
    }

    /// Returns when `condition` has come true.
    func until(_ condition: @escaping @Sendable (State) -> Bool) async {
        await withCheckedContinuation { continuation in
            with { $0.waiting.append(Waiting(condition: condition, continuation: continuation)) }
        }
    }

    /// Returns when the channel has taken an answer to a question that it asks from now on. It asks one after the other.
    func answered() async {
        let count = with { $0.polls.count }
        await until { $0.polls.count >= count + 2 }
    }

    struct Connection: PlanConnection {
        let plans: FakePlans

        func poll(revision: Int) async throws -> PlacementPlan? {
            try plans.with { state in
                try Self.check(state)
                state.polls.append(revision)
                return state.proposed
            }
        }

        func send(_ progress: PlanProgress) async throws {
            try plans.with { state in
                try Self.check(state)
                if state.refuses.contains(progress.transition) { throw PlanRefused(description: "not so") }
                state.received.append(progress)
                if state.lostAcknowledgements > 0 {
                    state.lostAcknowledgements -= 1
                    throw Away()
                }
            }
        }

        func send(_ checkpoint: RecordCheckpoint) async throws {
            try plans.with { state in
                try Self.check(state)
                state.checkpoints.append(checkpoint.step)
            }
        }

        func close() async {}

        private static func check(_ state: State) throws {
            if state.isAway { throw Away() }
            if state.isOver { throw IncarnationOver(description: "started again") }
        }
    }

    func channel(revision: Int = 1) -> PlanChannel {
        PlanChannel(
            run: "tiny", incarnation: 3, revision: revision, interval: .milliseconds(1),
            backOff: BackOff(first: .milliseconds(1), longest: .milliseconds(4)),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        ) {
            try self.with { state in
                state.attempts += 1
                if state.isAway { throw Away() }
            }
            return Connection(plans: self)
        }
    }
}
