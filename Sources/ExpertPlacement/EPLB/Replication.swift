import HeapModule

/// Further replicas, one after the other, each for the expert whose replicas are heaviest, the first of equals.
struct Replication {
    /// Expert of each replica: first one of each expert, then the further ones in the order they were given out.
    let experts: [Int]
    /// Which of its expert's replicas each is, from 0.
    let indices: [Int]
    /// Replicas of each expert.
    let counts: [Int]

    /// - Precondition: there are as many replicas as weights, or more.
    init(_ weights: [Float], replicas: Int) {
        var experts = Array(weights.indices)
        var indices = [Int](repeating: 0, count: weights.count)
        var counts = [Int](repeating: 1, count: weights.count)
        var pieces = Heap(weights.enumerated().map { Heaviest(weight: $1, index: $0) })
        for _ in weights.count..<replicas {
            guard let heaviest = pieces.min?.index else { break }
            experts.append(heaviest)
            indices.append(counts[heaviest])
            counts[heaviest] += 1
            pieces.replaceMin(
                with: Heaviest(weight: weights[heaviest] / Float(counts[heaviest]), index: heaviest))
        }
        self.experts = experts
        self.indices = indices
        self.counts = counts
    }
}
