/// Where the time of a training step goes, on one rank.
public enum Phase: String, CaseIterable, Sendable, Codable {
    case attention, router, dispatch, experts, combine, gradients, optimizer
}

/// Adds up wall-clock seconds by phase. One for each rank; modules that belong together share it.
public final class PhaseTimer {
    private var seconds = [Phase: Double]()
    private let clock = ContinuousClock()

    public init() {}

    /// Runs `body` and adds its time to `phase`.
    public func measure<Result>(_ phase: Phase, _ body: () throws -> Result) rethrows -> Result {
        let start = clock.now
        defer { seconds[phase, default: 0] += (clock.now - start) / .seconds(1) }
        return try body()
    }

    /// Returns the sums since the last call, and starts again at zero.
    public func take() -> [Phase: Double] {
        defer { seconds.removeAll(keepingCapacity: true) }
        return seconds
    }
}
