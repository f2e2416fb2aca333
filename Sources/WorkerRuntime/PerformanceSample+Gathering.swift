import ExpertPlacement
import Foundation
import MessagePassing

extension Communicator {
    /// Collects the ranks' samples on all of them, rank by rank. Collective.
    func gather(_ sample: PerformanceSample) throws -> [PerformanceSample] {
        let own = try agree { try Array(JSONEncoder().encode(sample)) }
        let blocks = try allGatherBlocks(own)
        return try agree { try blocks.map { try JSONDecoder().decode(PerformanceSample.self, from: Data($0)) } }
    }
}
