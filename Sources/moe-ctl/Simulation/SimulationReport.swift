import ExpertPlacement
import Listings

/// What a simulation found, and what it assumed.
struct SimulationReport: Encodable {
    let trace: String
    let source: String
    let intervals: Int
    let point: SimulatedCluster

    private enum CodingKeys: String, CodingKey {
        case trace, source, intervals, ranks, nodes, ownership, assumptions, policies
        case memoryLimit = "memory_limit"
        case operationsPerSecond = "operations_per_second"
        case exchange
        case exchangeBetweenNodes = "exchange_between_nodes"
    }

    private struct Policy: Encodable {
        let policy: String
        let failure: String?
        let totals: SimulationTotals
        let intervals: [IntervalOutcome]
    }

    private var cluster: Cluster { point.cluster }

    func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(trace, forKey: .trace)
        try values.encode(source, forKey: .source)
        try values.encode(intervals, forKey: .intervals)
        try values.encode(point.ranks, forKey: .ranks)
        try values.encode(point.nodes, forKey: .nodes)
        try values.encode(cluster.ownership, forKey: .ownership)
        try values.encodeIfPresent(cluster.memoryLimits?.min(), forKey: .memoryLimit)
        try values.encode(point.operationsPerSecond, forKey: .operationsPerSecond)
        try values.encodeIfPresent(cluster.exchange, forKey: .exchange)
        try values.encodeIfPresent(cluster.exchangeBetweenNodes, forKey: .exchangeBetweenNodes)
        try values.encode(point.assumptions, forKey: .assumptions)
        try values.encode(
            point.policies.map {
                Policy(policy: $0.policy, failure: $0.failure, totals: $0.totals, intervals: $0.outcomes)
            }, forKey: .policies)
    }

    var tables: [Table] {
        var table = Table([
            ("POLICY", .left), ("STEP", .right), ("EXPERTS", .right), ("BALANCE", .right), ("WORST", .right),
            ("PLANS", .right), ("MOVED", .right), ("LOST", .right), ("OF STEPS", .right),
        ])
        for policy in point.policies {
            let totals = policy.totals
            // What one that failed did until then is not to be held against whole runs.
            let hasFailed = policy.failure != nil
            func cell(_ text: String) -> String { hasFailed ? Readable.nothing : text }
            table.add([
                policy.policy, cell(Readable.seconds(totals.meanStepSeconds)),
                cell(Readable.seconds(totals.meanExpertSeconds)), cell(Readable.balance(totals.meanBalance)),
                cell(Readable.balance(totals.worstBalance)), cell("\(totals.plans)"),
                cell(Readable.bytes(totals.bytesMoved)), cell(Readable.seconds(totals.moveSeconds)),
                cell(Readable.part(totals.moveSeconds, of: totals.meanStepSeconds * Double(totals.steps))),
            ])
        }
        func text(_ exchange: ExchangeCosts) -> String {
            "\(Readable.rate(exchange.bytesPerSecond, "B/s")) a rank, \(exchange.latencySeconds) s latency"
        }
        let between = cluster.exchangeBetweenNodes.map { "; between nodes \(text($0))" } ?? ""
        return [
            .details([
                ("Trace", "\(trace), \(source), \(SimulatedCluster.extent(of: [point], intervals: intervals))"),
                (
                    "Ranks",
                    "\(point.ranks) on \(point.nodes) nodes, optimizer state \(cluster.ownership.rawValue)"
                ),
                ("Compute", "\(Readable.rate(point.operationsPerSecond, "operations/s")) a rank"),
                ("Exchange", cluster.exchange.map { text($0) + between } ?? Readable.nothing),
            ]), table,
        ]
    }
}

/// Charts of a simulation: every policy a line, over the steps.
enum SimulationCharts {
    static func svg(_ policies: [SimulatedPolicy]) -> String {
        func chart(_ title: String, _ axis: String, _ value: ([IntervalOutcome]) -> [Double]) -> LineChart {
            LineChart(
                title: title, x: LineChart.Axis("step"), y: LineChart.Axis(axis),
                series: policies.map { policy in
                    LineChart.Series(
                        policy.policy,
                        zip(policy.outcomes, value(policy.outcomes)).map { (Double($0.firstStep), $1) })
                })
        }
        func sums(_ values: [Double]) -> [Double] {
            var sum = 0.0
            return values.map {
                sum += $0
                return sum
            }
        }
        return LineChart.svg([
            chart("Time of a step, moves included", "seconds") {
                $0.map { $0.stepSeconds + $0.moveSeconds / Double($0.stepCount) }
            },
            chart("Balance of the ranks, mean over slowest", "balance") { $0.map(\.balance) },
            chart("Bytes moved so far", "bytes") { sums($0.map { Double($0.bytesMoved) }) },
            chart("Time lost to moves so far", "seconds") { sums($0.map(\.moveSeconds)) },
        ])
    }
}
