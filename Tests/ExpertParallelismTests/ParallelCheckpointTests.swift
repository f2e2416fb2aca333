import ExpertParallelism
import ExpertPlacement
import Foundation
import Layers
import MessagePassing
import Mixtral
import Testing

/// Checkpoints of models whose experts are spread over ranks.
@Suite struct ParallelCheckpointTests {
    private static let configuration = try? MixtralConfiguration(
        vocabularySize: 17, hiddenSize: 12, intermediateSize: 7, layers: 2, heads: 3, experts: 4)

    /// The model with weights from `source`, on this rank.
    private static func model(
        _ communicator: any Communicator, allocator: String, source: any WeightSource
    ) throws -> MixtralModel {
        let model = MixtralModel(configuration: try #require(configuration))
        try parallelizeExperts(
            in: model, matching: #"model\.layers\.\d+\.block_sparse_moe\.experts"#,
            allocator: Allocators.make(named: allocator), dispatcher: TokenDispatchers.make(named: "random", seed: 1),
            configuration: ParallelConfiguration(
                layers: 2, expertsPerLayer: .uniform(4), context: ExpertParallelContext(communicator: communicator)))
        try model.loadWeights(from: source)
        return model
    }

    private static func withTemporaryDirectory(_ body: (String) throws -> Void) throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "checkpoint-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        try body(directory.path)
    }

    /// The same bytes come from any placement, and from ranks that read a checkpoint in parts.
    @Test(arguments: [1, 2, 3], ["tensor-parallel", "expert-parallel", "replicated"])
    func bytesDoNotDependOnThePlacement(worldSize: Int, allocator: String) throws {
        try Self.withTemporaryDirectory { directory in
            let weights = RandomWeights(seed: 5, standardDeviation: 0.1)
            let whole = MixtralModel(configuration: try #require(Self.configuration))
            try whole.loadWeights(from: weights)
            let reference = ModelWriter(
                directory: directory, step: 1, configuration: whole.configuration, weights: whole.namedWeights())
            try reference.begin()
            try whole.storeWeights(to: reference)
            let expected = try Data(contentsOf: URL(fileURLWithPath: reference.finish() + "/model.safetensors"))

            _ = try ThreadCommunicator.run(worldSize: worldSize) { communicator in
                // From the generator, and from the checkpoint.
                let checkpoint = try MixtralCheckpoint(directory: directory + "/step-1")
                for (step, source) in [(2, weights as any WeightSource), (3, checkpoint.weights)] {
                    let model = try Self.model(communicator, allocator: allocator, source: source)
                    guard communicator.rank == 0 else {
                        try model.storeWeights(to: ModelWriterDiscard())
                        continue
                    }
                    let writer = ModelWriter(
                        directory: directory, step: step, configuration: model.configuration,
                        weights: model.namedWeights())
                    try writer.begin()
                    try model.storeWeights(to: writer)
                    _ = try writer.finish()
                }
            }
            for step in [2, 3] {
                let path = "\(directory)/step-\(step)/model.safetensors"
                #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == expected, "step \(step)")
            }
        }
    }

    /// A writer that fails at the first tensor lets the collective come to its end, and tells at the end.
    @Test func aFailingWriterLeavesNoRankWaiting() throws {
        try Self.withTemporaryDirectory { directory in
            let messages = try ThreadCommunicator.run(worldSize: 3) { communicator in
                let model = try Self.model(
                    communicator, allocator: "tensor-parallel",
                    source: RandomWeights(seed: 5, standardDeviation: 0.1))
                guard communicator.rank == 0 else {
                    try model.storeWeights(to: ModelWriterDiscard())
                    try communicator.barrier()
                    return ""
                }
                let writer = ModelWriter(
                    directory: directory, step: 1, configuration: model.configuration,
                    weights: [("another.weight", [1])])
                try writer.begin()
                try model.storeWeights(to: writer)
                try communicator.barrier()
                do {
                    return try writer.finish()
                } catch {
                    return "\(error)"
                }
            }
            #expect(messages[0].contains("\"model.embed_tokens.weight\""), "\(messages[0])")
            #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == [".lock"])
        }
    }
}
