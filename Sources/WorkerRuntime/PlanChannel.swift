import ControlProtocol
import Dispatch
import ExpertPlacement
import Logging
import Synchronization

/// Brings plans from the coordinator to rank 0, and the word of what became of them back, in the background. No step waits
/// for it, whatever the coordinator does.
///
/// What the ranks have done is kept until the coordinator has it: so one that was away learns of it. Until then it is not
/// asked for another plan, so at most one plan's messages wait.
package final class PlanChannel: PlanSource, Sendable {
    /// Between two questions when nothing wakes the channel.
    package static let pollInterval = Duration.seconds(1)

    private struct State {
        var book: PlanBook
        var isFinishing = false
        var isSuperseded = false
        /// Whether something has happened since the last pause.
        var isAwake = false
        var pause: Task<Void, Never>?
    }

    private let state: Mutex<State>
    private let interval: Duration
    private let backOff: BackOff
    private let connect: @Sendable () async throws -> any PlanConnection
    private let logger: Logger
    private let task = Mutex<Task<Void, Never>?>(nil)
    private let hasEnded = DispatchSemaphore(value: 0)

    /// - Parameters:
    ///   - revision: of the plan in force.
    ///   - connect: opens a connection; called again after each failure.
    package init(
        run: String, incarnation: Int, revision: Int, interval: Duration = pollInterval, backOff: BackOff = BackOff(),
        logger: Logger, connect: @escaping @Sendable () async throws -> any PlanConnection
    ) {
        state = Mutex(State(book: PlanBook(run: run, incarnation: incarnation, revision: revision)))
        self.interval = interval
        self.backOff = backOff
        self.logger = logger
        self.connect = connect
        let background = Task { [self] in
            await exchange()
            hasEnded.signal()
        }
        task.withLock { $0 = background }
    }

    package func hasPlan(before step: Int) -> Bool { state.withLock { $0.book.promise() } }

    package func takePlan() -> PlacementPlan? { state.withLock { $0.book.take() } }

    package var largestRevision: Int { state.withLock(\.book.highestKnown) }

    package func note(_ event: PlanEvent) {
        if case .rejected(let reason) = event.kind {
            logger.warning("placement revision \(event.revision) was refused: \(reason)")
        }
        state.withLock { $0.book.note(event) }
        wake()
    }

    /// Tells of a checkpoint, after what there is to tell of plans.
    package func note(checkpoint step: Int, path: String, bytes: Int, seconds: Double) {
        state.withLock { $0.book.note(checkpoint: step, path: path, bytes: bytes, seconds: seconds) }
        wake()
    }

    /// Ends the pause, so that what there is to tell goes out at once.
    private func wake() {
        let pause = state.withLock { state in
            state.isAwake = true
            return state.pause
        }
        pause?.cancel()
    }

    /// Whether the coordinator said that the run was started again, so that this process must end.
    package var isSuperseded: Bool { state.withLock(\.isSuperseded) }

    /// Tells what is left, for at most `limit`, and ends the background task. Blocks the calling thread, which must not be one
    /// of the cooperative pool.
    /// - Returns: how many messages the coordinator has not got.
    package func finish(within limit: Duration) -> Int {
        let isLeft = state.withLock { state in
            state.isFinishing = true
            return state.book.hasNews
        }
        wake()
        // A question that is open interests no more.
        if !isLeft { task.withLock(\.self)?.cancel() }
        if hasEnded.wait(timeout: .now() + limit / .seconds(1)) == .timedOut { task.withLock(\.self)?.cancel() }
        return state.withLock { $0.book.messages.count }
    }

    private func exchange() async {
        var connection: (any PlanConnection)?
        var failures = 0
        while !Task.isCancelled {
            do {
                let open: any PlanConnection
                if let connection { open = connection } else { open = try await connect() }
                connection = open
                let isDone = try await turn(over: open)
                if failures > 0 { logger.notice("the coordinator is asked for plans again") }
                failures = 0
                if isDone { break }
            } catch is IncarnationOver {
                state.withLock { $0.isSuperseded = true }
                break
            } catch {
                if state.withLock({ $0.isFinishing && !$0.book.hasNews }) { break }
                if !(error is PlanRefused || error is CoordinatorBusy) {
                    await connection?.close()
                    connection = nil
                }
                if failures == 0 { logger.warning("placements stay as they are, the training goes on: \(error)") }
                failures += 1
                await pause(backOff.pause(afterFailures: failures))
            }
        }
        await connection?.close()
    }

    /// Sends the oldest message, or asks for a plan and rests.
    /// - Returns: whether nothing is left to do.
    private func turn(over connection: any PlanConnection) async throws -> Bool {
        if let message = state.withLock({ $0.book.messages.first }) {
            do {
                try await connection.send(message)
            } catch let refusal as PlanRefused {
                logger.warning(
                    """
                    the coordinator does not take that placement revision \(message.revision) is \
                    \(message.transition.rawValue): \(refusal)
                    """)
            }
            state.withLock { $0.book.delivered() }
            return false
        }
        if let checkpoint = state.withLock({ $0.book.checkpoints.first }) {
            do {
                try await connection.send(checkpoint)
            } catch let refusal as PlanRefused {
                logger.warning("the coordinator does not record the checkpoint \(checkpoint.path): \(refusal)")
            }
            state.withLock { $0.book.delivered(checkpoint: checkpoint.step) }
            return false
        }
        let (isFinishing, question) = state.withLock { ($0.isFinishing, $0.book.question) }
        if isFinishing { return true }
        if let question {
            let plan = try await connection.poll(revision: question)
            state.withLock { $0.book.offer(plan) }
        }
        await pause(interval)
        return false
    }

    /// Rests until `duration` has passed or `wake` is called; at the end of the run only briefly.
    private func pause(_ duration: Duration) async {
        let pause = state.withLock { state -> Task<Void, Never>? in
            if state.isAwake {
                state.isAwake = false
                return nil
            }
            let duration = state.isFinishing ? min(duration, backOff.first) : duration
            let pause = Task<Void, Never> { try? await Task.sleep(for: duration) }
            state.pause = pause
            return pause
        }
        await withTaskCancellationHandler {
            await pause?.value
        } onCancel: {
            pause?.cancel()
        }
        state.withLock { state in
            state.pause = nil
            state.isAwake = false
        }
    }
}
