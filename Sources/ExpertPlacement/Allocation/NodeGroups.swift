/// Groups of neighbouring experts, each of which stays on one node: a router that limits a token to few groups (DeepSeek-V3,
/// arXiv:2412.19437, section 2.1.2) then sends it to few nodes. As many groups on every node.
struct NodeGroups {
    /// Experts of a group, and groups of a node.
    let size: Int
    let perNode: Int
    /// Ranks of each node.
    let ranks: [[Int]]

    /// - Returns: nil when there is nothing to limit: one group, or one node.
    /// - Throws: `PlacementError.unsuitableAllocator` when the counts do not divide each other.
    init?(groups: Int, experts: Int, nodes: [Int]) throws(PlacementError) {
        let nodes = NodeLinks.counted(nodes)
        let count = (nodes.max() ?? 0) + 1
        guard groups > 1, count > 1 else { return nil }
        guard groups % count == 0, experts % groups == 0 else {
            throw .unsuitableAllocator(
                "groups of experts stay on a node each: \(count) nodes must divide \(groups) groups, and these "
                    + "\(experts) experts")
        }
        size = experts / groups
        perNode = groups / count
        ranks = (0..<count).map { node in nodes.indices.filter { nodes[$0] == node } }
    }

    private var groupCount: Int { perNode * ranks.count }

    /// Node of each group where `layer` has each group on one, as many on all; nil elsewhere.
    func homes(in layer: LayerPlacement) -> [Int]? {
        var nodes = [Int](repeating: -1, count: (ranks.joined().max() ?? -1) + 1)
        for (node, ranks) in ranks.enumerated() { for rank in ranks { nodes[rank] = node } }
        var homes = [Int](repeating: -1, count: groupCount)
        for (expert, placement) in layer.experts.enumerated() {
            for rank in placement.mesh.ranks {
                if homes[expert / size] < 0 { homes[expert / size] = nodes[rank] }
                guard homes[expert / size] == nodes[rank] else { return nil }
            }
        }
        let isEven = ranks.indices.allSatisfy { node in homes.count { $0 == node } == perNode }
        return isEven ? homes : nil
    }

    /// Whether `layer` has each group on one node, and as many on all.
    func areKept(by layer: LayerPlacement) -> Bool { homes(in: layer) != nil }

    /// Groups in their order, as many on each node.
    var first: [Int] { (0..<groupCount).map { $0 / perNode } }

    /// Groups packed so that nodes get as many rows as each other, nearly; of nodes that could change places, each gets those
    /// most of which it has.
    func packed(loads: [Double], current: LayerPlacement) -> [Int] {
        let sums = (0..<groupCount).map { group in Float(loads[group * size..<(group + 1) * size].reduce(0, +)) }
        let packs = BalancedPacking(sums, packs: ranks.count).packs
        var nodes = [Int](repeating: 0, count: (ranks.joined().max() ?? -1) + 1)
        for (node, ranks) in ranks.enumerated() { for rank in ranks { nodes[rank] = node } }
        // Replicas that each pack has on each node.
        var held = [[Int]](repeating: [Int](repeating: 0, count: ranks.count), count: ranks.count)
        for (expert, placement) in current.experts.enumerated() {
            for rank in placement.mesh.ranks { held[packs[expert / size]][nodes[rank]] += 1 }
        }
        let pairs = ranks.indices.flatMap { pack in ranks.indices.map { (pack: pack, node: $0) } }
        let order = pairs.sorted {
            (held[$0.pack][$0.node], $1.pack, $1.node) > (held[$1.pack][$1.node], $0.pack, $0.node)
        }
        var nodeOfPack = [Int](repeating: -1, count: ranks.count)
        var isTaken = [Bool](repeating: false, count: ranks.count)
        for pair in order where nodeOfPack[pair.pack] < 0 && !isTaken[pair.node] {
            nodeOfPack[pair.pack] = pair.node
            isTaken[pair.node] = true
        }
        return packs.map { nodeOfPack[$0] }
    }

    /// What is placed by itself when groups are where `homes` says.
    func parts(homes: [Int]) -> [PlacementPart] {
        ranks.enumerated().map { node, ranks in
            PlacementPart(
                experts: homes.indices.filter { homes[$0] == node }.flatMap { $0 * size..<($0 + 1) * size },
                ranks: ranks)
        }
    }
}

/// Experts that go on some of the ranks.
struct PlacementPart {
    let experts: [Int]
    let ranks: [Int]
}
