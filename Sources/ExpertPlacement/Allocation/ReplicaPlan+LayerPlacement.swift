extension ReplicaPlan {
    /// The plan as meshes of TP 1. Replicas that stay keep their order in the mesh, so that little of the optimizer
    /// state changes its owner.
    /// - Parameter current: the layer's placement in force.
    public func placement(widths: [Int], current: LayerPlacement?) throws(PlacementError) -> LayerPlacement {
        var experts = [ExpertPlacement]()
        for (expert, width) in widths.enumerated() {
            let old = current?.experts[expert].mesh
            let ranks = ranks[expert]
            // Places among `ranks`.
            var order = [Int]()
            var isKept = [Bool](repeating: false, count: ranks.count)
            for rank in old?.tensorParallel == 1 ? old?.ranks ?? [] : [] {
                guard let place = Self.place(of: rank, in: ranks) else { continue }
                order.append(place)
                isKept[place] = true
            }
            for place in ranks.indices where !isKept[place] { order.append(place) }
            let mesh = try DeviceMesh(
                dataParallel: ranks.count, tensorParallel: 1, ranks: order.map { ranks[$0] })
            experts.append(
                try ExpertPlacement(
                    width: width, mesh: mesh,
                    fractions: ranks.count > 1 ? order.map { fractions[expert][$0] } : nil))
        }
        return LayerPlacement(experts: experts)
    }

    /// Where `rank` stands among `ranks`, which ascend.
    private static func place(of rank: Int, in ranks: [Int]) -> Int? {
        var (low, high) = (0, ranks.count)
        while low < high {
            let middle = (low + high) / 2
            if ranks[middle] < rank { low = middle + 1 } else { high = middle }
        }
        return low < ranks.count && ranks[low] == rank ? low : nil
    }
}

extension LayerPlacement {
    /// Ranks of each expert and their parts of its rows, where all meshes are of TP 1 below `worldSize`; nil otherwise.
    func replicas(worldSize: Int) -> [(ranks: [Int], fractions: [Double])]? {
        guard experts.allSatisfy({ $0.mesh.tensorParallel == 1 && $0.mesh.ranks.allSatisfy { $0 < worldSize } }) else {
            return nil
        }
        return experts.map { ($0.mesh.ranks, $0.replicaFractions) }
    }
}
