/// Ranks on several nodes, between which messages cost more than within one.
public struct NodeLinks: Hashable, Sendable, Codable {
    /// Node of each rank, W entries, counted from 0.
    public let nodes: [Int]
    /// Ranks on the node of each rank, itself included, W entries.
    public let neighbours: [Int]
    /// What messages between ranks of different nodes cost.
    public let exchange: ExchangeCosts

    /// - Parameter nodes: node of each rank: any numbers, the same for ranks of one node.
    public init(nodes: [Int], exchange: ExchangeCosts) {
        self.nodes = NodeLinks.counted(nodes)
        self.exchange = exchange
        var sizes = [Int](repeating: 0, count: (self.nodes.max() ?? -1) + 1)
        for node in self.nodes { sizes[node] += 1 }
        neighbours = self.nodes.map { sizes[$0] }
    }

    /// `nodes` by numbers from 0, in the order in which they come.
    static func counted(_ nodes: [Int]) -> [Int] {
        var numbers = [Int: Int]()
        var last: (node: Int, number: Int)?
        return nodes.map { node in
            if let last, last.node == node { return last.number }
            let number = numbers[node] ?? numbers.count
            numbers[node] = number
            last = (node, number)
            return number
        }
    }
}
