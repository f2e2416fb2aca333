/// Which share of each expert's rows each of its replicas takes so that the slowest rank is as fast as can be.
public enum TokenFractions {
    /// The best fractions for replicas on `ranks` ([expert][replica]) at these loads: a flow of which every rank that
    /// shares an expert with the slowest takes as long as it.
    /// - Precondition: every expert has a rank, and all ranks are below the number of speeds.
    public static func best(ranks: [[Int]], loads: [Double], secondsPerRow: [Double]) -> [[Double]] {
        var assignment = ReplicaAssignment(
            loads: loads, deviations: [Double](repeating: 0, count: loads.count), secondsPerRow: secondsPerRow,
            slots: [Int](repeating: loads.count, count: secondsPerRow.count), replicaLimit: .max)
        assignment.adopt(ranks)
        assignment.balance(tolerance: 1e-9, limit: 10_000)
        return ranks.enumerated().map { expert, ranks in
            ranks.map { rank in assignment.replicas[expert].first { $0.rank == rank }?.share ?? 0 }
        }
    }
}
