import ExpertPlacement
import Listings

/// How a step's time changes with the number of ranks.
struct ScalingReport: Encodable {
    let trace: String
    let source: String
    let intervals: Int
    /// Whether tokens grow with the ranks.
    let isWeak: Bool
    let points: [SimulatedCluster]

    private enum CodingKeys: String, CodingKey {
        case trace, source, intervals, scaling, points
    }

    private struct Point: Encodable {
        let ranks: Int
        let nodes: Int
        let tokens: Double
        let assumptions: SimulationAssumptions
        let policies: [Policy]
    }

    private struct Policy: Encodable {
        let policy: String
        let failure: String?
        let efficiency: Double?
        let totals: SimulationTotals
    }

    func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(trace, forKey: .trace)
        try values.encode(source, forKey: .source)
        try values.encode(intervals, forKey: .intervals)
        try values.encode(isWeak ? "weak" : "strong", forKey: .scaling)
        try values.encode(
            points.map { point in
                Point(
                    ranks: point.ranks, nodes: point.nodes, tokens: point.tokens,
                    assumptions: point.assumptions,
                    policies: point.policies.indices.map { index in
                        let policy = point.policies[index]
                        return Policy(
                            policy: policy.policy, failure: policy.failure,
                            efficiency: efficiency(of: index, at: point), totals: policy.totals)
                    })
            }, forKey: .points)
    }

    /// Tokens a second and rank relative to those of the policy on the first number of ranks; nil: not known.
    private func efficiency(of policy: Int, at point: SimulatedCluster) -> Double? {
        func seconds(_ point: SimulatedCluster) -> Double? {
            let policy = point.policies[policy]
            guard policy.failure == nil, policy.totals.meanStepSeconds > 0 else { return nil }
            return policy.totals.meanStepSeconds * Double(point.ranks) / point.tokens
        }
        guard let first = seconds(points[0]), let now = seconds(point) else { return nil }
        return first / now
    }

    var tables: [Table] {
        var table = Table([
            ("RANKS", .right), ("NODES", .right), ("POLICY", .left), ("STEP", .right), ("EXPERTS", .right),
            ("EFFICIENCY", .right), ("BALANCE", .right), ("PLANS", .right), ("MOVED", .right), ("OF STEPS", .right),
        ])
        for point in points {
            for (index, policy) in point.policies.enumerated() {
                let totals = policy.totals
                func cell(_ text: String) -> String { policy.failure != nil ? Readable.nothing : text }
                table.add([
                    "\(point.ranks)", "\(point.nodes)", policy.policy, cell(Readable.seconds(totals.meanStepSeconds)),
                    cell(Readable.seconds(totals.meanExpertSeconds)),
                    efficiency(of: index, at: point).map { Readable.part($0, of: 1) } ?? Readable.nothing,
                    cell(Readable.balance(totals.meanBalance)), cell("\(totals.plans)"),
                    cell(Readable.bytes(totals.bytesMoved)),
                    cell(Readable.part(totals.moveSeconds, of: totals.meanStepSeconds * Double(totals.steps))),
                ])
            }
        }
        return [
            .details([
                ("Trace", "\(trace), \(source), \(SimulatedCluster.extent(of: points, intervals: intervals))"),
                ("Tokens", isWeak ? "grow with the ranks, from the trace's on \(points[0].ranks)" : "the trace's"),
                ("Compute", "\(Readable.rate(points[0].operationsPerSecond, "operations/s")) a rank"),
            ]), table,
        ]
    }

    /// Charts over the number of ranks, every policy a line.
    var charts: String {
        func chart(_ title: String, _ y: LineChart.Axis, _ value: (SimulatedCluster, Int) -> Double?) -> LineChart {
            LineChart(
                title: title, x: LineChart.Axis("ranks", isLogarithmic: true), y: y,
                series: points[0].policies.indices.map { index in
                    LineChart.Series(
                        points[0].policies[index].policy,
                        points.compactMap { point in value(point, index).map { (Double(point.ranks), $0) } })
                })
        }
        return LineChart.svg([
            chart("Time of a step, moves included", LineChart.Axis("seconds", isLogarithmic: true)) { point, index in
                let policy = point.policies[index]
                return policy.failure == nil ? policy.totals.meanStepSeconds : nil
            },
            chart("Efficiency: tokens a second and rank", LineChart.Axis("of the first")) { point, index in
                efficiency(of: index, at: point)
            },
        ])
    }
}
