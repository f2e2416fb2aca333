import Foundation

/// Where the time of a training step goes, on one rank.
public enum Phase: String, CaseIterable, Sendable, Codable {
    case attention, router, dispatch, experts, combine, gradients, optimizer
}

/// Adds up wall-clock seconds by phase, and those in which the thread had a processor. One for each rank; modules that
/// belong together share it.
public final class PhaseTimer {
    /// Seconds of one phase.
    public struct Time: Hashable, Sendable {
        public var seconds = 0.0
        /// Of the calling thread alone (`CLOCK_THREAD_CPUTIME_ID`, clock_gettime(2)): ranks that share a processor have
        /// less of them than of the others.
        public var processorSeconds = 0.0

        public init() {}
    }

    private var times = [Phase: Time]()
    private let clock = ContinuousClock()

    public init() {}

    /// Runs `body` and adds its time to `phase`.
    public func measure<Result>(_ phase: Phase, _ body: () throws -> Result) rethrows -> Result {
        let start = clock.now
        let processorStart = Self.processorSeconds
        defer {
            times[phase, default: Time()].seconds += (clock.now - start) / .seconds(1)
            times[phase, default: Time()].processorSeconds += Self.processorSeconds - processorStart
        }
        return try body()
    }

    /// Returns the sums since the last call, and starts again at zero.
    public func take() -> [Phase: Time] {
        defer { times.removeAll(keepingCapacity: true) }
        return times
    }

    private static var processorSeconds: Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + 1e-9 * Double(time.tv_nsec)
    }
}
