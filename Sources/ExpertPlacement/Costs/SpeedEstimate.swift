/// How long each rank takes for its rows, fitted to the reports as they come in: rank r spends
/// slowness[r] · (rowSeconds · rows + neuronSeconds · work) on its experts, where work is rows times the neurons they met.
///
/// Least squares with forgetting, a report's variance taken to grow with its work. Noise moves little: a report far from
/// what is known counts as one less far, and a rank is average until it differs by more than its reports scatter. What the
/// reports do not tell (when all shards are of one width, how rows and neurons share the time) falls to the neurons.
public struct SpeedEstimate: Hashable, Sendable {
    /// Weight of what was known before in each new report of a rank.
    public let memory: Double
    private var ranks = [RankMoments]()

    /// A report counts as at most so many times, and at least this part of, what the rank's earlier ones say.
    private static let outlierFactor = 4.0
    /// Reports of a rank from which on outliers are known as such.
    private static let knownCount = 2.0
    /// Relative scatter assumed of reports, and the number of reports that this assumption counts as.
    private static let priorScatter = 0.05
    private static let priorCount = 2.0
    /// Weight of the assumption that rows cost nothing by themselves, and of the one that a rank is average, relative to
    /// what the reports of all ranks, or of an average one, say.
    private static let rowPrior = 1e-4
    private static let slownessPrior = 0.02
    /// Standard deviations within which a rank's difference from the average counts as noise.
    private static let noiseDeviations = 2.0
    private static let iterations = 30

    public init(memory: Double = 0.8) {
        self.memory = memory
    }

    /// Takes a report into account: `rank` spent `seconds` on `rows` rows, `work` of them times neurons.
    public mutating func record(rank: Int, seconds: Double, rows: Double, work: Double) {
        guard seconds.isFinite, seconds > 0, rows.isFinite, rows > 0, work.isFinite, work > 0, rank >= 0 else { return }
        while ranks.count <= rank { ranks.append(RankMoments()) }
        var seconds = seconds
        let known = ranks[rank]
        if known.count >= Self.knownCount {
            let expected = known.seconds / known.work * work
            seconds = min(max(seconds, expected / Self.outlierFactor), expected * Self.outlierFactor)
        }
        ranks[rank].add(seconds: seconds, rows: rows, work: work, memory: memory)
    }

    /// `costs` with what was measured in place of what was assumed. A rank that has reported nothing is average; reports
    /// between which lie more magnitudes than numbers have tell nothing.
    /// - Parameter worldSize: W, number of ranks that `costs` are of.
    public func fitted(_ costs: CostModel, worldSize: Int) -> CostModel {
        let ranks = ranks.prefix(worldSize)
        let known = ranks.indices.filter { ranks[$0].work > 0 }
        guard !known.isEmpty else { return costs }
        var slowness = [Double](repeating: 1, count: worldSize)
        for rank in known { slowness[rank] = ranks[rank].seconds / ranks[rank].work }
        Self.normalise(&slowness, over: known)
        var rates = (row: 0.0, neuron: 0.0)
        for _ in 0..<Self.iterations {
            rates = Self.fitRates(ranks, known, slowness)
            let expected = known.map { ranks[$0].expectedSquares(rates) }
            let prior = Self.slownessPrior * expected.reduce(0, +) / Double(known.count)
            for (rank, squares) in zip(known, expected) {
                slowness[rank] = (ranks[rank].product(rates) + prior) / (squares + prior)
            }
            Self.normalise(&slowness, over: known)
        }
        for rank in known {
            slowness[rank] = shrunk(slowness[rank], of: ranks[rank], rates)
        }
        var fitted = costs
        (fitted.rowSeconds, fitted.neuronSeconds) = rates
        fitted.slowness = slowness
        let different = known.filter { slowness[$0] != 1 }
        fitted.slownessError =
            different.reduce(0) { $0 + variance(slowness[$1], of: self.ranks[$1], rates).squareRoot() }
            / Double(max(1, different.count))
        return (try? fitted.validate(worldSize: worldSize)) == nil ? costs : fitted
    }

    /// Makes 1 the average of the ranks that are known.
    private static func normalise(_ slowness: inout [Double], over known: [Int]) {
        let mean = known.reduce(0) { $0 + slowness[$1] } / Double(known.count)
        for rank in known { slowness[rank] /= mean }
    }

    /// Seconds of a row and of a neuron on an average rank, neither negative.
    private static func fitRates(
        _ ranks: ArraySlice<RankMoments>, _ known: [Int], _ slowness: [Double]
    ) -> (row: Double, neuron: Double) {
        var sum = RankMoments()
        for rank in known { sum.add(ranks[rank], slowness: slowness[rank]) }
        let rowSquares = sum.rowSquares * (1 + rowPrior)
        let determinant = rowSquares * sum.work - sum.rows * sum.rows
        let row = (sum.rowSeconds * sum.work - sum.seconds * sum.rows) / determinant
        let neuron = (sum.seconds * rowSquares - sum.rowSeconds * sum.rows) / determinant
        if row.isFinite, row > 0, neuron.isFinite, neuron >= 0 { return (row, neuron) }
        // One of the two alone.
        return neuron < 0 ? (sum.rowSeconds / rowSquares, 0) : (0, sum.seconds / sum.work)
    }

    /// Relative variance of a rank's `slowness`, as its reports scatter.
    private func variance(_ slowness: Double, of rank: RankMoments, _ rates: (row: Double, neuron: Double)) -> Double {
        let scatter = Self.priorScatter * Self.priorScatter * Self.priorCount + rank.residual(slowness, rates)
        return scatter / (Self.priorCount + rank.count) / rank.count
    }

    /// `slowness` as far as it is not noise: the nearer to 1 the less it exceeds what the rank's reports scatter.
    private func shrunk(_ slowness: Double, of rank: RankMoments, _ rates: (row: Double, neuron: Double)) -> Double {
        let variance = variance(slowness, of: rank, rates)
        let deviation = slowness - 1
        let noise = Self.noiseDeviations * Self.noiseDeviations * variance * slowness * slowness
        return 1 + deviation * max(0, 1 - noise / max(deviation * deviation, 1e-300))
    }
}

/// Sums over a rank's reports of rows x, work y and seconds t, each report divided by its work, later ones weighing more.
private struct RankMoments: Hashable, Sendable {
    /// How many reports, older ones counting less.
    var count = 0.0
    var rowSquares = 0.0  // Σ x²/y
    var rows = 0.0  // Σ x
    var work = 0.0  // Σ y
    var rowSeconds = 0.0  // Σ x·t/y
    var seconds = 0.0  // Σ t
    var secondSquares = 0.0  // Σ t²/y

    mutating func add(seconds t: Double, rows x: Double, work y: Double, memory: Double) {
        count = memory * count + 1
        rowSquares = memory * rowSquares + x * x / y
        rows = memory * rows + x
        work = memory * work + y
        rowSeconds = memory * rowSeconds + x * t / y
        seconds = memory * seconds + t
        secondSquares = memory * secondSquares + t * t / y
    }

    /// Adds a rank's reports as an average rank would have made them.
    mutating func add(_ other: RankMoments, slowness: Double) {
        rowSquares += other.rowSquares
        rows += other.rows
        work += other.work
        rowSeconds += other.rowSeconds / slowness
        seconds += other.seconds / slowness
    }

    /// Σ p²/y over the reports, p the seconds that `rates` expect of an average rank.
    func expectedSquares(_ rates: (row: Double, neuron: Double)) -> Double {
        rates.row * rates.row * rowSquares + 2 * rates.row * rates.neuron * rows + rates.neuron * rates.neuron * work
    }

    /// Σ p·t/y.
    func product(_ rates: (row: Double, neuron: Double)) -> Double {
        rates.row * rowSeconds + rates.neuron * seconds
    }

    /// The squared relative deviations of the reports from what is expected of a rank so slow, added up.
    func residual(_ slowness: Double, _ rates: (row: Double, neuron: Double)) -> Double {
        let expected = slowness * slowness * expectedSquares(rates)
        let squares = secondSquares - 2 * slowness * product(rates) + expected
        return expected > 0 ? max(0, squares / expected) * count : 0
    }
}
