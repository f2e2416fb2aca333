import ExpertPlacement

/// Who holds which expert, one line for neighbours that are placed alike.
package enum PlacementTable {
    /// - Parameter firstLayer: index of the plan's first layer in the model, for a plan that has one layer alone.
    package static func make(_ plan: PlacementPlan, ownership: OwnershipPolicy, firstLayer: Int = 0) -> Table {
        let showsFractions = plan.layers.contains { $0.experts.contains { $0.fractions != nil } }
        var table = Table(
            [
                ("LAYER", .left), ("EXPERT", .left), ("MESH", .left), ("RANKS", .left), ("NEURONS", .right),
                ("OWNED", .right),
            ]
                + (showsFractions ? [("TOKENS", .left)] : []),
            whenEmpty: "no layer has experts")
        for layers in plan.layers.runs(where: { $0.experts == $1.experts }) {
            let names = Readable.ranges(layers.map { $0 + firstLayer })
            let experts = plan.layers[layers.lowerBound].experts
            for alike in experts.runs(where: ==) {
                let expert = experts[alike.lowerBound]
                let owned = owned(expert, ownership, worldSize: plan.worldSize)
                table.add(
                    [names, Readable.ranges(Array(alike))] + cells(of: expert) + [owned]
                        + (showsFractions ? [fractions(of: expert)] : []))
            }
        }
        return table
    }

    private static func cells(of expert: ExpertPlacement) -> [String] {
        let mesh = expert.mesh
        return [
            "\(mesh.dataParallel)×\(mesh.tensorParallel)", ranks(of: mesh),
            Readable.sizes((0..<mesh.tensorParallel).map { expert.neurons(ofShard: $0).count }),
        ]
    }

    /// A bracket for each replica.
    package static func ranks(of mesh: DeviceMesh) -> String {
        (0..<mesh.dataParallel).map { replica in
            "[" + mesh.ranks(ofReplica: replica).map(String.init).joined(separator: " ") + "]"
        }.joined(separator: " ")
    }

    /// How much of its state a rank keeps, of those that may: its mesh's, or all.
    private static func owned(_ expert: ExpertPlacement, _ ownership: OwnershipPolicy, worldSize: Int) -> String {
        let ranks =
            switch ownership {
            case .colocated: expert.mesh.ranks
            case .decoupled: Array(0..<worldSize)
            }
        // Which rank has the larger pieces depends on layer and expert, their sizes do not.
        return Readable.sizes(
            ranks.map { expert.ownedNeurons(of: $0, ownership, layer: 0, expert: 0, worldSize: worldSize).count })
    }

    /// Share of the tokens that each replica takes.
    package static func fractions(of expert: ExpertPlacement) -> String {
        expert.replicaFractions.map { "\(Int(($0 * 100).rounded()))%" }.joined(separator: " ")
    }
}
