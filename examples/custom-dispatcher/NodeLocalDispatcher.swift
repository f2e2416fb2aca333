import ExpertParallelism
import ExpertPlacement
import Layers

/// Sends a token to a replica on its own node where there is one, so that the link between nodes has less to carry, and takes turns
/// among those.
struct NodeLocalDispatcher: TokenDispatcher {
    /// Node of each rank.
    let nodes: [Int]

    func chooseReplica(token: Int, expert: Int, placement: ExpertPlacement, origin: DispatchOrigin) -> Int {
        let replicas = 0..<placement.mesh.dataParallel
        let near = replicas.filter { replica in
            placement.mesh.ranks(ofReplica: replica).allSatisfy { nodes[$0] == nodes[origin.rank] }
        }
        // A token's index in the global batch is the same on any number of ranks, so the choice is repeatable.
        return near.isEmpty ? token % replicas.count : near[token % near.count]
    }
}
