import ExpertPlacement
import Layers

/// Keeps a token on its own rank where that rank holds a replica (or a shard of one), and picks at random elsewhere.
/// Saves traffic; does not obey the plan's fractions on ranks that hold a replica.
public struct LocalFirstDispatcher: TokenDispatcher {
    private var elsewhere: RandomDispatcher

    public init(seed: UInt64) {
        elsewhere = RandomDispatcher(seed: seed)
    }

    public func chooseReplica(token: Int, expert: Int, placement: ExpertPlacement, origin: DispatchOrigin) -> Int {
        placement.mesh.position(of: origin.rank)?.replica
            ?? elsewhere.chooseReplica(token: token, expert: expert, placement: placement, origin: origin)
    }

    public mutating func assignTask(_ routing: Routing, placement: LayerPlacement, origin: DispatchOrigin) -> [Int] {
        elsewhere.assignTask(routing, placement: placement, origin: origin) { expert in
            placement.experts[expert].mesh.position(of: origin.rank)?.replica
        }
    }
}
