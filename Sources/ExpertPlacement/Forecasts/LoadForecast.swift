/// Forecasts the rows of each expert from those of earlier intervals, and how far the forecast may be off.
///
/// A forecast is the mean of the last intervals: of few while a router learns fast, of many once only noise is left. How
/// many, of 1, 2, 4 … `window`, each layer's errors so far decide.
public struct LoadForecast: Hashable, Sendable {
    /// Intervals that a forecast is the mean of, at most.
    public let window: Int
    /// Total variation between forecast and measurement, 0 … 1, from which a load counts as a jump, unless errors of
    /// twice that size have been usual.
    public let jump: Double

    /// The last `window` intervals.
    private var history = [Interval]()
    /// Reports that together have too few steps to be one; nil: none.
    private var pending: Interval?
    /// Mean squared error of earlier forecasts as shares of the layer, [layer][expert], weighted towards the present.
    private var squaredErrors = [[Double]]()
    private var errorCount = 0
    /// What a forecast may be the mean of, shortest first, and the mean squared errors that each would have had,
    /// [layer][window].
    private let windows: [Int]
    private var windowErrors = [[Double]]()

    /// Rows a step that each expert is expected to get, [layer][expert]; empty before the first interval.
    public private(set) var loads = [[Double]]()

    /// Errors of earlier forecasts, oldest first, at most `recordLimit`: total variation between forecast and
    /// measurement, the mean over layers.
    public private(set) var errors = [Double]()
    /// Whether the last interval was far from its forecast in some layer.
    public private(set) var hasJumped = false

    public static let recordLimit = 1000
    /// Deviation of an expert's share p before errors are known, over √(p·(1 - p)): as of some 2,500 independent
    /// tokens.
    private static let priorDeviation = 0.02
    /// Intervals that errors are remembered for, in the mean.
    private static let memory = 8.0
    /// Share of an expert below which it counts as having this one, so that an idle expert may wake up.
    private static let leastShare = 1e-4

    public init(window: Int = 16, jump: Double = 0.1) {
        self.window = max(1, window)
        self.jump = jump
        var windows = [Int]()
        var next = 1
        while next < window {
            windows.append(next)
            next *= 2
        }
        self.windows = windows + [self.window]
    }

    /// Rows of each expert, [layer][expert], in rows a step, and of how many steps.
    private struct Interval: Hashable {
        var loads: [[Double]]
        var steps: Int

        /// Both as one.
        func adding(_ other: Interval) -> Interval {
            let total = Double(steps) + Double(other.steps)
            let (part, otherPart) = (Double(steps) / total, Double(other.steps) / total)
            return Interval(
                loads: zip(loads, other.loads).map { zip($0, $1).map { part * $0 + otherPart * $1 } },
                steps: steps.saturatingSum(other.steps))
        }
    }

    /// Takes the rows of an interval into account, [layer][expert], in rows a step. Those of another model start anew.
    ///
    /// When plans switch there are reports of a step or two. Their noise would look like a jump, so those of less than half as
    /// many steps as others had wait and count with the next.
    /// - Parameter steps: that the interval had, from 1.
    public mutating func record(_ loads: [[Double]], steps: Int = 1) {
        hasJumped = false
        if let last = history.last, last.loads.map(\.count) != loads.map(\.count) {
            self = LoadForecast(window: window, jump: jump)
        }
        var interval = Interval(loads: loads, steps: steps)
        if let pending { interval = pending.adding(interval) }
        let usual = history.reduce(0) { max($0, $1.steps) }
        guard interval.steps >= usual - usual / 2 else {
            pending = interval
            return
        }
        pending = nil
        if !history.isEmpty { compare(interval.loads) }
        // After a jump the past says nothing about the future.
        if hasJumped { history.removeAll() }
        history.append(interval)
        if history.count > window { history.removeFirst() }
        self.loads = loads.indices.map { mean(layer: $0, of: bestWindow(layer: $0)) }
    }

    /// The window with the least errors so far, the longest of equals.
    private func bestWindow(layer: Int) -> Int {
        guard windowErrors.indices.contains(layer), let least = windowErrors[layer].min() else { return window }
        return windows[windowErrors[layer].lastIndex { $0 <= least } ?? windows.count - 1]
    }

    private func mean(layer: Int, of count: Int) -> [Double] {
        let recent = history.suffix(count)
        var sum = [Double](repeating: 0, count: history[history.count - 1].loads[layer].count)
        for interval in recent {
            let loads = interval.loads[layer]
            for expert in sum.indices { sum[expert] += loads[expert] }
        }
        return sum.map { $0 / Double(recent.count) }
    }

    private mutating func compare(_ loads: [[Double]]) {
        let forecast = self.loads
        if squaredErrors.isEmpty {
            squaredErrors = loads.map { [Double](repeating: 0, count: $0.count) }
            windowErrors = loads.map { _ in [Double](repeating: 0, count: windows.count) }
        }
        let usual = errors.isEmpty ? 0 : errors.suffix(window).reduce(0, +) / Double(min(window, errors.count))
        errorCount += 1
        let weight = max(1 / Double(errorCount), 1 / Self.memory)
        var sum = 0.0
        for layer in loads.indices {
            let (expected, measured) = (Self.shares(forecast[layer]), Self.shares(loads[layer]))
            var distance = 0.0
            for expert in expected.indices {
                let error = measured[expert] - expected[expert]
                distance += abs(error) / 2
                squaredErrors[layer][expert] += weight * (error * error - squaredErrors[layer][expert])
            }
            for (index, window) in windows.enumerated() {
                var squares = 0.0
                for (forecast, measured) in zip(Self.shares(mean(layer: layer, of: window)), measured) {
                    squares += (measured - forecast) * (measured - forecast)
                }
                windowErrors[layer][index] += weight * (squares - windowErrors[layer][index])
            }
            sum += distance
            if distance > max(jump, 2 * usual) { hasJumped = true }
        }
        errors.append(sum / Double(max(1, loads.count)))
        if errors.count > Self.recordLimit { errors.removeFirst() }
    }

    private static func shares(_ loads: [Double]) -> [Double] {
        let total = loads.reduce(0, +)
        return total > 0 ? loads.map { $0 / total } : loads.map { _ in 1 / Double(loads.count) }
    }

    public var isEmpty: Bool { history.isEmpty }

    /// Rows a step in the last interval, [layer][expert]; empty before the first.
    public var latest: [[Double]] { history.last?.loads ?? [] }

    /// Standard deviations of `loads`, [layer][expert]: what is assumed of tokens in general, until the errors of
    /// earlier forecasts outweigh it.
    public var deviations: [[Double]] {
        deviations { share in
            let prior = Self.deviation(ofShare: share)
            return prior * prior
        }
    }

    /// The part of `deviations` that the errors of earlier forecasts make up; 0 before there are any.
    public var measuredDeviations: [[Double]] { deviations { _ in 0 } }

    private func deviations(prior: (_ share: Double) -> Double) -> [[Double]] {
        let trust = Double(errorCount) / Double(errorCount + 4)
        return loads.enumerated().map { layer, loads in
            let total = loads.reduce(0, +)
            return Self.shares(loads).enumerated().map { expert, share in
                let known = squaredErrors.isEmpty ? 0 : squaredErrors[layer][expert]
                return total * ((1 - trust) * prior(share) + trust * known).squareRoot()
            }
        }
    }

    /// The deviation assumed of an expert's share when nothing else is known.
    private static func deviation(ofShare share: Double) -> Double {
        let share = max(share, leastShare)
        return priorDeviation * max(0, share * (1 - share)).squareRoot()
    }

    /// Deviations assumed of one layer's `loads` when nothing else is known.
    public static func assumedDeviations(_ loads: [Double]) -> [Double] {
        let total = loads.reduce(0, +)
        return shares(loads).map { total * deviation(ofShare: $0) }
    }
}
