import Foundation
import Layers
import MessagePassing
import Mixtral
import Tensors
import Testing
import WorkerRuntime

/// Runs of models of every type: trained on a mesh, saved, gone on from on other ranks, and asked for text.
@Suite struct ModelTypeTrainingTests {
    private let fixture: TrainingFixture

    init() throws { fixture = try TrainingFixture() }

    struct Model: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let configuration: MixtralConfiguration

        init(
            _ type: ModelType, layers: Int = 3, denseLayers: Set<Int> = [], sharedExpertWidth: Int? = nil,
            hasAttentionBiases: Bool = false, widths: ExpertWidths? = nil, tiesEmbeddings: Bool = false
        ) throws {
            testDescription = type.rawValue
            configuration = try MixtralConfiguration(
                modelType: type, vocabularySize: TrainingFixture.vocabularySize, hiddenSize: 16, intermediateSize: 12,
                layers: layers, heads: 4, keyValueHeads: 2, hasAttentionBiases: hasAttentionBiases, experts: 4,
                expertsPerToken: 2, widths: widths, denseLayers: denseLayers, denseWidth: 20,
                sharedExpertWidth: sharedExpertWidth, tiesEmbeddings: tiesEmbeddings, maximumPositions: 16,
                initializerRange: 0.2, routerAuxiliaryLossCoefficient: type == .dots1 ? 0 : 0.02)
        }
    }

    private static func models() throws -> [Model] {
        [
            try Model(.mixtral, widths: .perLayer([3, 12, 7]), tiesEmbeddings: true), try Model(.olmoe),
            try Model(.qwen2MoE, denseLayers: [0, 2], sharedExpertWidth: 5, hasAttentionBiases: true),
            try Model(.qwen3MoE, denseLayers: [1], widths: .perExpert([[1, 2, 3, 4], [9, 9, 9, 8]])),
            try Model(.dots1, denseLayers: [0], sharedExpertWidth: 24, hasAttentionBiases: true),
            try Model(.deepseek, denseLayers: [0], sharedExpertWidth: 12),
        ]
    }

    private func write(_ model: Model) throws {
        try model.configuration.json().write(to: fixture.folder.appending(path: "config.json"))
    }

    /// Neither mesh, placement nor number of ranks shows in what a run that goes on does.
    @Test(arguments: try models()) func runsGoOn(model: Model) throws {
        try write(model)
        let directory = fixture.path("checkpoints")
        let whole = try fixture.train(worldSize: 4, steps: 8) {
            $0.checkpointDirectory = directory
            $0.checkpointInterval = 4
            $0.allocator = "expert-parallel"
            ($0.dataParallel, $0.tensorParallel) = (2, 2)
        }
        #expect(whole.map(\.loss).max()! < 4 && whole[7].loss < whole[0].loss)
        // Metrics speak of the layers that have experts.
        let pairs = 6 * TrainingFixture.sequenceLength * 2
        #expect(whole[0].expertLoad.map { $0.reduce(0, +) } == model.configuration.sparseLayers.map { _ in pairs })
        for worldSize in [1, 3] {
            let copy = fixture.path("copy-\(worldSize)")
            try FileManager.default.createDirectory(atPath: copy, withIntermediateDirectories: false)
            try FileManager.default.copyItem(atPath: "\(directory)/step-4", toPath: "\(copy)/step-4")
            let rest = try fixture.train(worldSize: worldSize, steps: 8) {
                $0.checkpointDirectory = copy
                $0.allocator = "tensor-parallel"
                $0.recomputation = .full
                $0.tensorParallel = worldSize
            }
            #expect(rest.map(\.step) == Array(5...8))
            for (line, expected) in zip(rest, whole.suffix(4)) {
                #expect(abs(line.loss - expected.loss) < 1e-4, "\(worldSize) ranks, step \(line.step)")
            }
        }
        let saved = try MixtralCheckpoint(directory: "\(directory)/step-8")
        #expect(saved.configuration == model.configuration)
    }

    /// The padding token's embedding is 0 from the first step on, however the ranks share the model.
    @Test(arguments: [1, 2]) func thePaddingTokensEmbeddingStaysZero(tensorParallel: Int) throws {
        let size = TrainingFixture.vocabularySize
        let configuration = try MixtralConfiguration(
            vocabularySize: size, hiddenSize: 16, intermediateSize: 12, layers: 1, heads: 4, experts: 4,
            maximumPositions: 16, initializerRange: 0.2, paddingToken: 5)
        try configuration.json().write(to: fixture.folder.appending(path: "config.json"))
        let directory = fixture.path("checkpoints")
        _ = try fixture.train(worldSize: 2, steps: 2) {
            $0.checkpointDirectory = directory
            $0.tensorParallel = tensorParallel
        }
        let table = Tensor(rows: size, columns: 16)
        try MixtralCheckpoint(directory: "\(directory)/step-2").weights.load(
            "model.embed_tokens.weight", shape: [size, 16], rows: 0..<size, columns: 0..<16, into: table)
        #expect(table.rows(5..<6).array.allSatisfy { $0 == 0 })
        #expect(table.rows(6..<7).array.allSatisfy { $0 != 0 })
    }

    @Test(arguments: try models()) func textIsTheSameInAnyWorld(model: Model) throws {
        try write(model)
        let meta = #"{"format": 1, "tokenizer": "characters", "vocabulary_size": 13, "characters": "\nabcdefghijkl"}"#
        try Data(meta.utf8).write(to: fixture.folder.appending(path: "meta.json"))
        let directory = fixture.path("checkpoints")
        _ = try fixture.train(worldSize: 2, steps: 2) { $0.checkpointDirectory = directory }
        let options = GenerationOptions(
            model: "\(directory)/step-2", prompt: "abc", length: 20, temperature: 0.7, topK: 5, seed: 9)
        let texts = try [1, 3].map { worldSize in
            try ThreadCommunicator.run(worldSize: worldSize) { communicator in
                let generator = try TextGenerator(
                    options: options, communicator: communicator, nodes: communicator.nodes())
                var bytes = [UInt8]()
                try generator.run { bytes += $0 }
                return String(decoding: bytes, as: UTF8.self)
            }[0]
        }
        #expect(texts[0].count == 23 && texts[0] == texts[1])
    }
}
