import ControlProtocol
import ExpertPlacement

/// Who holds which expert, one line for neighbours that are placed alike.
enum PlacementTable {
    static func make(_ placement: Placement) -> Table {
        let layers = placement.plan.layers
        let showsFractions = layers.contains { $0.experts.contains { $0.fractions != nil } }
        var table = Table(
            [
                ("LAYER", .left), ("EXPERT", .left), ("MESH", .left), ("RANKS", .left), ("NEURONS", .right),
                ("OWNED", .right),
            ]
                + (showsFractions ? [("TOKENS", .left)] : []),
            whenEmpty: "no layer has experts")
        for layers in runs(of: layers, where: { $0.experts == $1.experts }) {
            let names = Readable.ranges(layers.map { $0 + (placement.layer ?? 0) })
            let experts = placement.plan.layers[layers.lowerBound].experts
            for alike in runs(of: experts, where: ==) {
                let expert = experts[alike.lowerBound]
                table.add(
                    [names, Readable.ranges(Array(alike))] + cells(of: expert)
                        + (showsFractions ? [fractions(of: expert)] : []))
            }
        }
        return table
    }

    private static func cells(of expert: ExpertPlacement) -> [String] {
        let mesh = expert.mesh
        let replicas = (0..<mesh.dataParallel).map { replica in
            "[" + mesh.ranks(ofReplica: replica).map(String.init).joined(separator: " ") + "]"
        }
        return [
            "\(mesh.dataParallel)×\(mesh.tensorParallel)", replicas.joined(separator: " "),
            Readable.sizes((0..<mesh.tensorParallel).map { expert.neurons(ofShard: $0).count }),
            Readable.sizes(mesh.ranks.map { expert.ownedNeurons(of: $0).count }),
        ]
    }

    /// Share of the tokens that each replica takes.
    private static func fractions(of expert: ExpertPlacement) -> String {
        (0..<expert.mesh.dataParallel).map { replica in
            "\(Int((expert.fraction(ofReplica: replica) * 100).rounded()))%"
        }.joined(separator: " ")
    }

    /// Cuts the indices of `elements` where neighbours are not alike.
    private static func runs<Element>(
        of elements: [Element], where alike: (Element, Element) -> Bool
    ) -> [Range<Int>] {
        var runs = [Range<Int>]()
        for index in elements.indices {
            if let last = runs.last, alike(elements[index - 1], elements[index]) {
                runs[runs.count - 1] = last.lowerBound..<index + 1
            } else {
                runs.append(index..<index + 1)
            }
        }
        return runs
    }
}
