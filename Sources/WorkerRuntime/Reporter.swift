import ControlProtocol
import DequeModule
import Dispatch
import ExpertPlacement
import Logging
import Synchronization

/// Sends one rank's reports to the coordinator in the background. The training never waits for it: reports queue up, and when
/// the queue is full the oldest goes.
package final class Reporter: Sendable {
    /// What became of the reports.
    package struct Statistics: Sendable, Equatable {
        package var submitted = 0
        package var delivered = 0
        /// Pushed out of the full queue, refused by the coordinator, or left over at the end.
        package var dropped = 0
    }

    private typealias Item = Reports.Item

    private struct State {
        var queue = Deque<Item>()
        var statistics = Statistics()
        var isFinishing = false
        var isSuperseded = false
        /// Ends the pause before the next attempt to connect.
        var pause: Task<Void, Never>?

        /// Removes the oldest reports.
        mutating func take(_ count: Int) -> [Item] {
            let taken = Array(queue.prefix(count))
            queue.removeFirst(taken.count)
            return taken
        }

        /// Drops the oldest reports that are too many.
        mutating func makeRoom(capacity: Int) {
            while queue.count > capacity {
                queue.removeFirst()
                statistics.dropped += 1
            }
        }
    }

    /// The most reasons that are told until the coordinator takes reports again.
    private static let toldReasons = 8

    private let state = Mutex(State())
    private let capacity: Int
    private let backOff: BackOff
    private let connect: @Sendable () async throws -> any ReportChannel
    private let logger: Logger
    private let wakeUps: AsyncStream<Void>
    private let wakeUp: AsyncStream<Void>.Continuation
    private let task = Mutex<Task<Void, Never>?>(nil)
    private let hasEnded = DispatchSemaphore(value: 0)

    /// - Parameters:
    ///   - capacity: reports that wait at most.
    ///   - connect: opens a connection; called again after each failure, and after each refusal.
    package init(
        capacity: Int, backOff: BackOff = BackOff(), logger: Logger,
        connect: @escaping @Sendable () async throws -> any ReportChannel
    ) {
        self.capacity = capacity
        self.backOff = backOff
        self.logger = logger
        self.connect = connect
        (wakeUps, wakeUp) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        let background = Task { [self] in
            await run()
            hasEnded.signal()
        }
        task.withLock { $0 = background }
    }

    /// Queues a report. Takes the time of a copy, whatever the network does.
    package func submit(_ sample: PerformanceSample) {
        state.withLock { state in
            state.statistics.submitted += 1
            state.queue.append(Item(sequence: state.statistics.submitted, sample: sample))
            state.makeRoom(capacity: capacity)
        }
        wakeUp.yield()
    }

    package var statistics: Statistics { state.withLock(\.statistics) }

    /// Whether the coordinator said that the run was started again, so that this process must end.
    package var isSuperseded: Bool { state.withLock(\.isSuperseded) }

    /// Sends what is left, for at most `limit`, and ends the background task. Blocks the calling thread, which must not be
    /// one of the cooperative pool.
    package func finish(within limit: Duration) -> Statistics {
        let pause = state.withLock { state in
            state.isFinishing = true
            return state.pause
        }
        pause?.cancel()
        wakeUp.yield()
        if hasEnded.wait(timeout: .now() + limit / .seconds(1)) == .timedOut {
            task.withLock(\.self)?.cancel()
        }
        return state.withLock { state in
            state.statistics.dropped = state.statistics.submitted - state.statistics.delivered
            state.queue.removeAll()
            return state.statistics
        }
    }

    private func run() async {
        var wakeUps = wakeUps.makeAsyncIterator()
        var channel: (any ReportChannel)?
        var failures = 0
        /// Why reports wait, as far as it was told: a coordinator that is back may refuse what is not as it was.
        var reasons = Set<String>()
        /// Reports that go by themselves: one of them was refused.
        var separate = 0
        while !Task.isCancelled {
            guard state.withLock({ !$0.queue.isEmpty }) else {
                if state.withLock(\.isFinishing) { break }
                await wakeUps.next()
                continue
            }
            var reports: [Item] = []
            do {
                let open: any ReportChannel
                if let channel { open = channel } else { open = try await connect() }
                channel = open
                reports = state.withLock { [separate] in $0.take(separate > 0 ? 1 : Limits.standard.reportsPerFrame) }
                if reports.isEmpty { continue }
                try await open.send(reports)
                state.withLock { [reports] in $0.statistics.delivered += reports.count }
                separate = max(0, separate - 1)
                if failures > 0 { logger.notice("the coordinator takes reports again") }
                failures = 0
                reasons = []
            } catch is IncarnationOver {
                state.withLock { $0.isSuperseded = true }
                break
            } catch let refusal as ReportRefused where !reports.isEmpty {
                if reports.count > 1 {
                    separate = reports.count
                    putBack(reports)
                    continue
                }
                separate = max(0, separate - 1)
                logger.warning("the coordinator refused report \(reports[0].sequence): \(refusal)")
                state.withLock { [reports] in $0.statistics.dropped += reports.count }
            } catch {
                // Registration can be refused, too, as by a coordinator whose database is an older one.
                if !(error is CoordinatorBusy) {
                    await channel?.close()
                    channel = nil
                }
                putBack(reports)
                if reasons.count < Self.toldReasons, reasons.insert("\(error)").inserted {
                    logger.warning("reports wait, the training goes on: \(error)")
                }
                failures += 1
                await pause(afterFailures: failures)
            }
        }
        await channel?.close()
    }

    private func putBack(_ reports: [Item]) {
        state.withLock { state in
            state.queue.prepend(contentsOf: reports)
            state.makeRoom(capacity: capacity)
        }
    }

    /// Waits before the next attempt; at the end of the run only briefly.
    private func pause(afterFailures failures: Int) async {
        let pause = state.withLock { state in
            let duration = state.isFinishing ? backOff.first : backOff.pause(afterFailures: failures)
            let pause = Task<Void, Never> { try? await Task.sleep(for: duration) }
            state.pause = pause
            return pause
        }
        await withTaskCancellationHandler {
            await pause.value
        } onCancel: {
            pause.cancel()
        }
        state.withLock { $0.pause = nil }
    }
}
