import ExpertPlacement

/// Maximum over mean rank load on a trace, over layers and lines: 16 ranks with 4 slots each, replicas only.
struct TraceFigures: Encodable {
    /// Planned on the load itself, on that of one line and ten lines before, and, from line 100 on, on the mean of the last
    /// ten.
    let itself: Spread
    let oneBefore: Spread
    let tenBefore: Spread
    let meanOfTen: Spread
    /// Planned at every line on the one before: made anew, from the plan in force, and with a price on transfers.
    let anew: Policy
    let fromCurrent: Policy
    let withHysteresis: Policy

    struct Policy: Encodable {
        let balance: Spread
        /// Replicas that were not on their rank before, of all slots of all layers and lines.
        let transferredShare: Double
    }

    static let ranks = 16
    static let slots = 4

    init(_ trace: Trace) throws {
        itself = try Self.balance(trace, lag: 0, window: 1, from: 0)
        oneBefore = try Self.balance(trace, lag: 1, window: 1, from: 0)
        tenBefore = try Self.balance(trace, lag: 10, window: 1, from: 0)
        meanOfTen = try Self.balance(trace, lag: 1, window: 10, from: 100)
        anew = try Self.policy(trace, keeping: false, price: 0)
        fromCurrent = try Self.policy(trace, keeping: true, price: 0)
        withHysteresis = try Self.policy(trace, keeping: true, price: 0.005)
    }

    private static func problem(_ loads: [Double], current: [[Int]]? = nil) throws -> ReplicaProblem {
        try ReplicaProblem(
            loads: loads, deviations: LoadForecast.assumedDeviations(loads),
            secondsPerRow: [Double](repeating: 1, count: ranks), slots: [Int](repeating: slots, count: ranks),
            current: current)
    }

    private static func ratio(_ plan: ReplicaPlan, _ loads: [Double]) -> Double {
        let rankLoads = plan.rankLoads(loads, worldSize: ranks)
        return (rankLoads.max() ?? 0) * Double(ranks) / loads.reduce(0, +)
    }

    private static func balance(_ trace: Trace, lag: Int, window: Int, from: Int) throws -> Spread {
        var ratios = [Double]()
        for line in max(from, lag + window - 1)..<trace.loads.count {
            for layer in trace.loads[line].indices {
                var loads = [Double](repeating: 0, count: trace.loads[line][layer].count)
                for past in line - lag - window + 1...line - lag {
                    for expert in loads.indices { loads[expert] += trace.loads[past][layer][expert] / Double(window) }
                }
                ratios.append(ratio(ReplicaPlanner().plan(try problem(loads)), trace.loads[line][layer]))
            }
        }
        return Spread(ratios)
    }

    /// - Parameter price: of a transfer, in parts of the even load.
    private static func policy(_ trace: Trace, keeping: Bool, price: Double) throws -> Policy {
        var ratios = [Double]()
        var transfers = 0
        for layer in trace.loads[0].indices {
            var current: [[Int]]?
            for line in 1..<trace.loads.count {
                let loads = trace.loads[line - 1][layer]
                let even = loads.reduce(0, +) / Double(ranks)
                let plan = ReplicaPlanner().plan(
                    try problem(loads, current: keeping ? current : nil),
                    prices: ReplicaPlanner.Prices(transfer: price * even))
                if let current { transfers += plan.transfers(from: current) }
                current = plan.ranks
                ratios.append(ratio(plan, trace.loads[line][layer]))
            }
        }
        let all = ranks * slots * trace.loads[0].count * (trace.loads.count - 2)
        return Policy(balance: Spread(ratios), transferredShare: Double(transfers) / Double(all))
    }
}
