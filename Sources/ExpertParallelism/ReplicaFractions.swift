import ExpertPlacement

/// The shares of the replicas of some experts, summed up, so that a uniform number picks a replica.
struct ReplicaFractions: Sendable {
    /// Running sums by expert, then replica, each expert's from above 0 to 1.
    private let bounds: [Double]
    /// Place of each expert's first bound, with the end as last entry.
    private let first: [Int]

    init(_ experts: [ExpertPlacement]) {
        var bounds = [Double]()
        var first = [0]
        for expert in experts {
            let fractions = expert.replicaFractions
            // The last replica that takes any tokens takes what rounding leaves over.
            let last = fractions.lastIndex { $0 > 0 } ?? 0
            var sum = 0.0
            for (replica, fraction) in fractions.enumerated() {
                sum += fraction
                bounds.append(replica < last ? sum : 1)
            }
            first.append(bounds.count)
        }
        self.bounds = bounds
        self.first = first
    }

    /// The replica of `expert` that `uniform`, in 0 ..< 1, falls to.
    func replica(expert: Int, uniform: Double) -> Int {
        let start = first[expert]
        var place = start
        while place < first[expert + 1] - 1, uniform >= bounds[place] { place += 1 }
        return place - start
    }

    /// Whether `expert` has several replicas.
    func isReplicated(_ expert: Int) -> Bool { first[expert + 1] - first[expert] > 1 }
}
