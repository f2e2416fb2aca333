extension ReplicaPlan {
    /// The plan as meshes of TP 1. Replicas that stay keep their order in the mesh, so that little of the optimizer
    /// state changes its owner.
    /// - Parameter current: the layer's placement in force.
    public func placement(widths: [Int], current: LayerPlacement?) throws(PlacementError) -> LayerPlacement {
        var experts = [ExpertPlacement]()
        for (expert, width) in widths.enumerated() {
            let old = current?.experts[expert].mesh
            let order = old?.tensorParallel == 1 ? old?.ranks ?? [] : []
            let kept = order.filter { ranks[expert].contains($0) }
            let placed = kept + ranks[expert].filter { !kept.contains($0) }
            let shares = placed.map { rank in fractions[expert][ranks[expert].firstIndex(of: rank) ?? 0] }
            let mesh = try DeviceMesh(dataParallel: placed.count, tensorParallel: 1, ranks: placed)
            experts.append(
                try ExpertPlacement(width: width, mesh: mesh, fractions: placed.count > 1 ? shares : nil))
        }
        return LayerPlacement(experts: experts)
    }
}

extension LayerPlacement {
    /// Ranks of each expert where all meshes are of TP 1 below `worldSize`; nil otherwise.
    func replicaRanks(worldSize: Int) -> [[Int]]? {
        guard experts.allSatisfy({ $0.mesh.tensorParallel == 1 && $0.mesh.ranks.allSatisfy { $0 < worldSize } }) else {
            return nil
        }
        return experts.map(\.mesh.ranks)
    }
}
