/// How long each rank takes for its rows, fitted to the reports as they come in.
public struct SpeedEstimate: Hashable, Sendable {
    /// Weight of what was known before in each new report of a rank.
    public let memory: Double
    private var seconds = [Double]()
    private var work = [Double]()

    public init(memory: Double = 0.8) {
        self.memory = memory
    }

    /// Takes a report into account: a rank spent `seconds` on `work`, its rows times the neurons they met.
    public mutating func record(rank: Int, seconds: Double, work: Double, worldSize: Int) {
        guard seconds.isFinite, seconds > 0, work.isFinite, work > 0, rank >= 0, rank < worldSize else { return }
        if self.seconds.count != worldSize {
            self.seconds = [Double](repeating: 0, count: worldSize)
            self.work = self.seconds
        }
        self.seconds[rank] = memory * self.seconds[rank] + seconds
        self.work[rank] = memory * self.work[rank] + work
    }

    /// `costs` with what was measured in place of what was assumed. A rank that has reported nothing is average.
    public func fitted(_ costs: CostModel) -> CostModel {
        let rates = zip(seconds, work).map { $1 > 0 ? $0 / $1 : 0 }
        let known = rates.filter { $0 > 0 }
        guard !known.isEmpty else { return costs }
        let mean = known.reduce(0, +) / Double(known.count)
        var fitted = costs
        fitted.rowSeconds = 0
        fitted.neuronSeconds = mean
        fitted.slowness = rates.map { $0 > 0 ? $0 / mean : 1 }
        return fitted
    }
}
