/// A DP × TP grid of ranks that compute one expert. Each row is a replica (data parallel): a whole copy of the expert, its
/// neurons spread over the row's ranks (tensor parallel).
///
/// Follows veScale's device mesh of an expert (volcengine/veScale pull request 59, `legacy/vescale/moe/`).
public struct DeviceMesh: Hashable, Sendable {
    /// D, the number of replicas.
    public let dataParallel: Int
    /// T, the ranks that share one replica.
    public let tensorParallel: Int
    /// Ranks row by row: shard t of replica d is on `ranks[d * tensorParallel + t]`. No rank stands in it twice.
    public let ranks: [Int]

    /// - Throws: `PlacementError` when the shape does not fit the ranks, or a rank is negative or there twice.
    public init(dataParallel: Int, tensorParallel: Int, ranks: [Int]) throws(PlacementError) {
        guard dataParallel > 0, tensorParallel > 0 else {
            throw .invalidMesh("a mesh of \(dataParallel) × \(tensorParallel) has no rank")
        }
        let (count, overflow) = dataParallel.multipliedReportingOverflow(by: tensorParallel)
        guard !overflow, ranks.count == count else {
            throw .invalidMesh(
                "a mesh of \(dataParallel) × \(tensorParallel) needs as many ranks, but \(ranks.count) are listed")
        }
        if let negative = ranks.first(where: { $0 < 0 }) {
            throw .invalidMesh("rank \(negative) is negative")
        }
        if let twice = Self.repeated(ranks) { throw .invalidMesh("rank \(twice) stands twice in one mesh") }
        self.dataParallel = dataParallel
        self.tensorParallel = tensorParallel
        self.ranks = ranks
    }

    /// A rank that stands there twice.
    private static func repeated(_ ranks: [Int]) -> Int? {
        if zip(ranks, ranks.dropFirst()).allSatisfy({ $0 < $1 }) { return nil }
        let sorted = ranks.sorted()
        return zip(sorted, sorted.dropFirst()).first { $0 == $1 }?.0
    }

    /// The rank that holds shard `shard` of replica `replica`.
    public func rank(replica: Int, shard: Int) -> Int {
        ranks[replica * tensorParallel + shard]
    }

    /// The ranks of one replica, in shard order.
    public func ranks(ofReplica replica: Int) -> ArraySlice<Int> {
        ranks[replica * tensorParallel..<(replica + 1) * tensorParallel]
    }

    /// Replica and shard that `rank` holds; nil when it is not in the mesh.
    public func position(of rank: Int) -> (replica: Int, shard: Int)? {
        ranks.firstIndex(of: rank).map { ($0 / tensorParallel, $0 % tensorParallel) }
    }
}

extension DeviceMesh: Codable {
    private enum CodingKeys: String, CodingKey {
        case dataParallel = "data_parallel"
        case tensorParallel = "tensor_parallel"
        case ranks
    }

    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        try self.init(
            dataParallel: values.decode(Int.self, forKey: .dataParallel),
            tensorParallel: values.decode(Int.self, forKey: .tensorParallel),
            ranks: values.decode([Int].self, forKey: .ranks))
    }
}

extension DeviceMesh: CustomStringConvertible {
    public var description: String {
        let replicas = (0..<dataParallel).map { replica in
            "[" + ranks(ofReplica: replica).map(String.init).joined(separator: " ") + "]"
        }
        return "\(dataParallel)×\(tensorParallel) " + replicas.joined(separator: " ")
    }
}
