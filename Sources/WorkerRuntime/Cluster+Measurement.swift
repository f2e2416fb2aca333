import ExpertParallelism
import ExpertPlacement
import MessagePassing

extension Cluster {
    /// What allocators have to know of these ranks. Collective.
    /// - Parameters:
    ///   - nodes: the node of each rank.
    ///   - memoryLimit: bytes this rank may use for experts; nil: its part of what its node has.
    static func measure(
        nodes: [Int], model: ExpertModel, memoryLimit: Int?, ownership: OwnershipPolicy,
        communicator: any Communicator
    ) throws -> Cluster {
        Cluster(
            nodes: nodes, memoryLimits: try memoryLimits(nodes, memoryLimit, communicator),
            exchange: try ExchangeProbe.measure(communicator, model: model), ownership: ownership)
    }

    /// Bytes that each rank may use for experts. Collective; parameters as above.
    static func memoryLimits(_ nodes: [Int], _ memoryLimit: Int?, _ communicator: any Communicator) throws -> [Int] {
        let limits = MemoryLimit.all()
        let groups = try communicator.allGatherBlocks(limits.map(\.group))
        let neighbours = groups.indices.filter { nodes[$0] == nodes[communicator.rank] }.map { Array(groups[$0]) }
        return try communicator.allGather([memoryLimit ?? MemoryLimit.part(of: limits, groups: neighbours) ?? Int.max])
    }
}
