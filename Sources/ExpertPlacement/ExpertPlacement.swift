/// Where one expert is computed, and which rank owns which part of its optimizer state.
///
/// Neurons are 0 ..< `width` (F, the expert's intermediate width); a shard is a half-open range of them.
public struct ExpertPlacement: Hashable, Sendable {
    /// F, the number of neurons this placement was made for.
    public let width: Int
    public let mesh: DeviceMesh
    /// Share of the expert's tokens that each replica takes, D entries with the sum 1; nil: even.
    public let fractions: [Double]?
    /// Neuron boundaries between the shards, T + 1 ascending entries from 0 to `width`, the same for all replicas; nil: as
    /// even as can be.
    public let cuts: [Int]?

    /// The largest `width`.
    public static let widthLimit = 1 << 24

    /// - Throws: `PlacementError` when a shard would hold no neuron, the width is over `widthLimit`, or fractions or cuts
    ///   do not fit.
    public init(width: Int, mesh: DeviceMesh, fractions: [Double]? = nil, cuts: [Int]? = nil) throws(PlacementError) {
        guard width >= mesh.tensorParallel else {
            throw .invalidPlan("\(width) neurons cannot be spread over \(mesh.tensorParallel) ranks: each needs one")
        }
        guard width <= Self.widthLimit else {
            throw .invalidPlan("\(width) neurons are over the limit of \(Self.widthLimit) of one expert")
        }
        if let fractions {
            guard fractions.count == mesh.dataParallel else {
                throw .invalidPlan("\(fractions.count) fractions for \(mesh.dataParallel) replicas")
            }
            guard fractions.allSatisfy({ $0.isFinite && $0 >= 0 }), abs(fractions.reduce(0, +) - 1) < 1e-6 else {
                throw .invalidPlan("fractions must not be negative and must add up to 1, but are \(fractions)")
            }
        }
        if let cuts {
            guard cuts.count == mesh.tensorParallel + 1, cuts.first == 0, cuts.last == width,
                zip(cuts, cuts.dropFirst()).allSatisfy({ $0 < $1 })
            else {
                throw .invalidPlan(
                    "cuts \(cuts) must ascend from 0 to \(width) and bound \(mesh.tensorParallel) shards")
            }
        }
        self.width = width
        self.mesh = mesh
        self.fractions = fractions
        self.cuts = cuts
    }

    /// The neurons of shard `shard`, which has at least one.
    public func neurons(ofShard shard: Int) -> Range<Int> {
        if let cuts { return cuts[shard]..<cuts[shard + 1] }
        return evenPart(shard, of: mesh.tensorParallel, in: 0..<width)
    }

    /// The neurons that `rank` computes with; nil when it is not in the mesh.
    public func residentNeurons(of rank: Int) -> Range<Int>? {
        mesh.position(of: rank).map { neurons(ofShard: $0.shard) }
    }

    /// Share of the expert's tokens that each replica takes, D entries.
    public var replicaFractions: [Double] { (0..<mesh.dataParallel).map { fraction(ofReplica: $0) } }

    /// Share of the expert's tokens that `replica` takes.
    public func fraction(ofReplica replica: Int) -> Double {
        fractions?[replica] ?? 1 / Double(mesh.dataParallel)
    }
}

/// Piece `index` of `count` contiguous pieces of `range` whose sizes differ by at most one, larger ones first.
public func evenPart(_ index: Int, of count: Int, in range: Range<Int>) -> Range<Int> {
    let (size, rest) = range.count.quotientAndRemainder(dividingBy: count)
    let start = range.lowerBound + index * size + min(index, rest)
    return start..<start + size + (index < rest ? 1 : 0)
}

extension ExpertPlacement: Codable {
    private enum CodingKeys: String, CodingKey { case width, mesh, fractions, cuts }

    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        try self.init(
            width: values.decode(Int.self, forKey: .width),
            mesh: values.decode(DeviceMesh.self, forKey: .mesh),
            fractions: values.decodeIfPresent([Double].self, forKey: .fractions),
            cuts: values.decodeIfPresent([Int].self, forKey: .cuts))
    }
}
