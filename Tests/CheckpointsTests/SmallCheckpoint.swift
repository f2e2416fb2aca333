import Checkpoints
import ExpertPlacement
import Foundation
import Layers
import Tensors

extension CheckpointDirectory {
    /// The newest checkpoint; nil when there is none at all.
    func newest() throws -> Checkpoint? { try steps().last.map { try checkpoint(ofStep: $0) } }
}

/// A checkpoint of one rank with a little data, not that of a model.
enum SmallCheckpoint {
    static let data = CheckpointManifest.Data(
        seed: 7, order: "random", batchSize: 6, sequenceLength: 8, tokens: 600,
        tokensDigest: String(repeating: "0f", count: 32))

    static func plan(worldSize: Int = 1, revision: Int = 3) throws -> PlacementPlan {
        try PlacementPlan(
            revision: revision, worldSize: worldSize,
            layers: [
                LayerPlacement(experts: [
                    ExpertPlacement(
                        width: 4, mesh: DeviceMesh(dataParallel: 1, tensorParallel: 1, ranks: [worldSize - 1]))
                ])
            ])
    }

    /// Writes and commits `step-STEP`; its path.
    @discardableResult
    static func write(_ claim: CheckpointClaim, step: Int, keep: Int = 0, value: Float = 1) throws -> String {
        try claim.begin(step: step)
        let directory = claim.partialPath(ofStep: step)
        let file = try CheckpointWeights(directory: directory, part: 0, of: 1, weights: [("weight", [2, 3])])
        try file.store("weight", shape: [2, 3], Tensor(rows: 2, columns: 3, repeating: value))
        var files = [try file.finish()]
        let moments = TensorShard(
            name: "weight.exp_avg", rows: 0..<6, totalRows: 6, values: Tensor(rows: 6, columns: 1, repeating: value))
        files.append(try OptimizerStateFile.write([moments], directory: directory, rank: 0, worldSize: 1))
        files.append(try HashedFile.write(Data("{}".utf8), directory: directory, name: "config.json"))
        let manifest = CheckpointManifest(
            run: "tiny", incarnation: 1, step: step, updates: step, data: data, plan: try plan(), largestRevision: 4,
            allocator: "tensor-parallel", ownership: .colocated, createdAt: Date(timeIntervalSince1970: 0), files: files
        )
        return try claim.commit(manifest, keep: keep)
    }

    static func claim(_ directory: String, incarnation: Int = 1) throws -> CheckpointClaim {
        try CheckpointClaim.take(CheckpointDirectory(directory), run: "tiny", incarnation: incarnation)
    }
}
