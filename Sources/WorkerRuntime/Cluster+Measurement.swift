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
        let neighbours = nodes.count { $0 == nodes[communicator.rank] }
        let limit = memoryLimit ?? MemoryLimit.bytes().map { $0 / neighbours } ?? Int.max
        return Cluster(
            nodes: nodes, memoryLimits: try communicator.allGather([limit]),
            exchange: try ExchangeProbe.measure(communicator, model: model), ownership: ownership)
    }
}
