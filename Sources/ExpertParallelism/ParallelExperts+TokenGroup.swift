import Layers
import MessagePassing

/// The ranks that tokens are routed among.
extension ParallelExperts: TokenGroup {
    public var tokenGroup: (any TokenGroup)? { self }

    public var seed: UInt64 { context.seed }
    public var step: Int { context.step }
    public var firstToken: Int { context.firstToken }
    public var rank: Int { context.communicator.rank }
    public var size: Int { context.communicator.size }

    public func gather(_ entries: [Int32]) throws -> [Int32] {
        context.countSent((size - 1) * entries.count, of: Int32.self)
        return try context.communicator.allGather(entries)
    }

    public func sum(_ entries: inout [Int32]) throws {
        var span = entries.mutableSpan
        try context.communicator.allReduce(&span, .sum)
    }
}
