/// Experts over the ranks of nodes, a replica on each, so that its shards add up within a node. Faster ranks get more neurons,
/// or faster nodes more rows.
struct ShardSpread {
    private let mesh: DeviceMesh
    private let costs: CostModel
    private let minimumGain: Double
    /// A node's part of the rows, by its slowest rank; nil: even.
    private let fractions: [Double]?
    /// Whether ranks of the only node get neurons by their speed.
    private let isUneven: Bool
    /// The last expert that was spread, and seconds of its slowest shard on a row: most are of one width.
    private var last: (placement: ExpertPlacement, seconds: Double)?

    /// - Parameters:
    ///   - nodes: ranks of each node, as many of all.
    ///   - minimumGain: what has to come off the slowest shard's time, relative, for another placement.
    /// - Returns: nil when there is nothing to spread over.
    init?(nodes: [[Int]], costs: CostModel, minimumGain: Double) throws(PlacementError) {
        let shards = nodes[0].count
        guard shards > 1 || nodes.count == 1 else { return nil }
        mesh = try DeviceMesh(dataParallel: nodes.count, tensorParallel: shards, ranks: nodes.flatMap { $0 })
        self.costs = costs
        self.minimumGain = minimumGain
        let speeds = nodes.map { 1 / ($0.map(costs.slowness(of:)).max() ?? 1) }
        let total = speeds.reduce(0, +)
        fractions = speeds.contains { $0 != speeds[0] } ? speeds.map { $0 / total } : nil
        isUneven = nodes.count == 1 && costs.slowness.contains { $0 != costs.slowness[0] }
    }

    /// The expert spread; as it is, when it is so already and spreading anew would take little off its slowest shard.
    /// - Returns: nil when it has too few neurons.
    mutating func spread(
        width: Int, current: ExpertPlacement
    ) throws(PlacementError) -> ExpertPlacement? {
        guard width >= mesh.tensorParallel else { return nil }
        let spread: (placement: ExpertPlacement, seconds: Double)
        if let last, last.placement.width == width {
            spread = last
        } else {
            let placement = try ExpertPlacement(
                width: width, mesh: mesh, fractions: fractions, cuts: isUneven ? cuts(width: width) : nil)
            spread = (placement, rowSeconds(placement))
            last = spread
        }
        guard current.mesh == mesh, current != spread.placement else { return spread.placement }
        return spread.seconds >= rowSeconds(current) * (1 - minimumGain) ? current : spread.placement
    }

    /// Seconds of the slowest shard on a row of the expert.
    private func rowSeconds(_ placement: ExpertPlacement) -> Double {
        let mesh = placement.mesh
        let neurons = (0..<mesh.tensorParallel).map { placement.neurons(ofShard: $0).count }
        var slowest = 0.0
        for replica in 0..<mesh.dataParallel {
            let fraction = placement.fraction(ofReplica: replica)
            for shard in 0..<mesh.tensorParallel {
                let rank = mesh.rank(replica: replica, shard: shard)
                slowest = max(slowest, fraction * costs.secondsPerRow(neurons: neurons[shard], rank: rank))
            }
        }
        return slowest
    }

    /// Cuts with which all ranks take as long for a row, as far as each has a neuron; nil: even ones.
    private func cuts(width: Int) -> [Int]? {
        let speeds = mesh.ranks.map { 1 / costs.slowness(of: $0) }
        let row = costs.rowSeconds
        let seconds = (costs.neuronSeconds * Double(width) + row * Double(speeds.count)) / speeds.reduce(0, +)
        // What the row itself leaves of the time; one neuron for each rank, the others by that.
        let parts = speeds.map { max(0, seconds * $0 - row) }
        let total = parts.reduce(0, +)
        guard total > 0, total.isFinite else { return nil }
        var cuts = [0]
        var sum = 0.0
        for (place, part) in parts.enumerated() {
            sum += part
            cuts.append(place + 1 + Int((Double(width - speeds.count) * sum / total).rounded()))
        }
        return cuts
    }
}
