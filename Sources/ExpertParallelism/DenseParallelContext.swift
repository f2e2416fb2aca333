import ExpertPlacement
import Layers
import MessagePassing
import Tensors

/// What the layers that are cut over a tensor-parallel group share: the mesh, and the groups of ranks that follow from it.
public final class DenseParallelContext {
    public let mesh: DenseMesh
    /// Of all ranks.
    public let context: ExpertParallelContext
    /// The ranks of this rank's tensor-parallel group, by place.
    let group: any Communicator
    private var holders = [[Int]: any Communicator]()

    /// Collective.
    /// - Parameter mesh: of as many ranks as there are.
    public init(mesh: DenseMesh, context: ExpertParallelContext) throws {
        let communicator = context.communicator
        precondition(mesh.worldSize == communicator.size, "the mesh is of other ranks")
        self.mesh = mesh
        self.context = context
        group = try communicator.split(color: mesh.group(of: communicator.rank), key: communicator.rank)
    }

    /// The ranks that have the same part of a parameter as this one, in order. Collective.
    /// - Parameter parts: of each place of a group, a number of its part.
    func holders(_ parts: [Int]) throws -> any Communicator {
        let world = context.communicator
        if parts.allSatisfy({ $0 == parts[0] }) { return world }
        if let known = holders[parts] { return known }
        let made = try world.split(color: parts[mesh.place(of: world.rank)], key: world.rank)
        holders[parts] = made
        return made
    }

    /// The tokens of the group that a rank of it has.
    private func tokens(ofPlace place: Int, count: Int) -> Range<Int> {
        evenPart(place, of: mesh.tensorParallel, in: 0..<count)
    }

    /// The rows of all tokens of the group, from those that its ranks have. Collective in the group.
    /// - Parameter count: of tokens.
    public func gather(_ own: Tensor, count: Int) throws -> Tensor {
        let all = Tensor(rows: count, columns: own.columns)
        let counts = (0..<group.size).map { tokens(ofPlace: $0, count: count).count * own.columns }
        context.countSent((group.size - 1) * own.count, of: Float.self)
        var span = all.mutableSpan
        try group.allGather(own.span, counts: counts, into: &span)
        return all
    }

    /// Adds up the ranks' rows of all tokens of the group, in the ranks' order, and leaves each rank those of its own. Collective
    /// in the group.
    public func scatterSum(_ partial: Tensor) throws -> Tensor {
        let own = tokens(ofPlace: group.rank, count: partial.rows)
        let others = group.otherRanks
        let received = Tensor(rows: others.count * own.count, columns: partial.columns)
        func rows(from rank: Int) -> Tensor {
            let index = (rank - group.rank - 1 + group.size) % group.size
            return rank == group.rank
                ? partial.rows(own) : received.rows(index * own.count..<(index + 1) * own.count)
        }
        try context.startExchange(
            leaving: others.map { ($0, partial.rows(tokens(ofPlace: $0, count: partial.rows))) },
            arriving: others.map { ($0, rows(from: $0)) }, among: group
        ).wait()
        let sum = Tensor(rows: own.count, columns: partial.columns)
        for rank in 0..<group.size {
            if rank == 0 { sum.copy(from: rows(from: rank)) } else { Rows.add(rows(from: rank), into: sum) }
        }
        return sum
    }
}

extension DenseParallelContext: SequenceGroup {
    public func ownTokens(of count: Int) -> Range<Int> { tokens(ofPlace: group.rank, count: count) }

    public func sum(_ values: inout [Double]) throws {
        var span = values.mutableSpan
        try group.allReduce(&span, .sum)
    }
}
