import Checkpoints
import Foundation
import Layers
import MessagePassing
import Mixtral
import Tensors
import Testing
import WorkerRuntime

/// Routing policies and capacities in whole runs: what is reported, saved and refused.
@Suite struct RoutingTrainingTests {
    private let fixture: TrainingFixture

    init() throws { fixture = try TrainingFixture() }

    private static let biased: RoutingPolicy = {
        var routing = RoutingPolicy()
        routing.score = .sigmoid
        routing.biasUpdateRate = 0.05
        routing.groups = RoutingPolicy.Groups(count: 2, perToken: 1)
        routing.balancesSequences = true
        routing.zLossCoefficient = 0.01
        routing.jitter = 0.05
        return routing
    }()

    private static let expertChoice: RoutingPolicy = {
        var routing = RoutingPolicy()
        routing.selection = .expertChoice
        routing.renormalizes = false
        return routing
    }()

    /// A configuration with `routing`, in a file.
    private func configuration(
        _ routing: RoutingPolicy, modelType: ModelType = .mixtral, auxiliaryLoss: Double = 0.02
    ) throws -> String {
        let configuration = try MixtralConfiguration(
            modelType: modelType, vocabularySize: TrainingFixture.vocabularySize, hiddenSize: 16, intermediateSize: 12,
            layers: 2, heads: 4, keyValueHeads: 2, experts: 4, maximumPositions: 16, initializerRange: 0.2,
            routerAuxiliaryLossCoefficient: auxiliaryLoss, routing: routing)
        let path = fixture.path("config-\(UUID().uuidString).json")
        try configuration.json().write(to: URL(fileURLWithPath: path))
        return path
    }

    /// Losses, loads and what is dropped do not depend on the ranks.
    @Test(arguments: [ExpertCapacity.DropPolicy.position, .score]) func whatIsDroppedIsCounted(
        dropPolicy: ExpertCapacity.DropPolicy
    ) throws {
        func train(worldSize: Int) throws -> [StepMetrics] {
            try fixture.train(worldSize: worldSize, steps: 3) { options in
                options.capacity = ExpertCapacity(factor: 0.9, dropPolicy: dropPolicy, pads: worldSize == 3)
                options.microBatches = 2
                options.csv = fixture.path("table-\(worldSize).csv")
            }
        }
        let reference = try train(worldSize: 1)
        for worldSize in 2...3 {
            let metrics = try train(worldSize: worldSize)
            #expect(metrics[0].droppedTokens == reference[0].droppedTokens)
            #expect(metrics[0].expertLoad == reference[0].expertLoad)
            for (found, expected) in zip(metrics, reference) { #expect(abs(found.loss - expected.loss) < 1e-4) }
        }
        // A micro-batch has 24 tokens, 12 for an expert in the mean, of which 11 find a place.
        #expect(reference[0].droppedTokens.count == 2 && reference[0].droppedTokens.allSatisfy { $0 >= 8 })
        let rows = try String(contentsOfFile: fixture.path("table-2.csv"), encoding: .utf8).split(separator: "\n")
        let column = try #require(rows[0].split(separator: ",").firstIndex(of: "dropped_tokens"))
        let cells = rows[1].split(separator: ",", omittingEmptySubsequences: false)
        #expect(Int(cells[column]) == reference[0].droppedTokens.reduce(0, +))
        // Nothing is said of what a run does not do.
        let plain = try fixture.train(steps: 1)
        #expect(plain[0].droppedTokens.isEmpty && plain[0].zLoss == 0)
    }

    /// Biases, noise and losses by sequence: reported, the same on any ranks, and a run goes on from its checkpoint bit by bit.
    @Test(arguments: 1...3) func biasesAreSaved(worldSize: Int) throws {
        let file = try configuration(Self.biased)
        func train(_ directory: String, ranks: Int) throws -> [StepMetrics] {
            try fixture.train(worldSize: ranks, steps: 10) { options in
                options.modelConfiguration = file
                options.checkpointDirectory = directory
                options.checkpointInterval = 5
            }
        }
        let directory = fixture.path("checkpoints")
        let whole = try train(directory, ranks: worldSize)
        #expect(whole.allSatisfy { $0.zLoss > 0 && $0.auxiliaryLoss > 1 })
        if worldSize > 1 {
            for (found, expected) in zip(try train(fixture.path("alone"), ranks: 1), whole) {
                #expect(abs(found.loss - expected.loss) < 1e-3 && abs(found.zLoss - expected.zLoss) < 1e-2)
            }
        }

        let copy = fixture.path("copy")
        try FileManager.default.createDirectory(atPath: copy, withIntermediateDirectories: false)
        try FileManager.default.copyItem(atPath: "\(directory)/step-5", toPath: "\(copy)/step-5")
        let rest = try train(copy, ranks: worldSize)
        #expect(rest.map(\.loss) == whole.suffix(5).map(\.loss))
        let files = try Checkpoint(path: "\(copy)/step-10").manifest.files
        #expect(try files == Checkpoint(path: "\(directory)/step-10").manifest.files)

        let weights = try MixtralCheckpoint(directory: "\(copy)/step-10").weights
        let bias = Tensor(rows: 1, columns: 4)
        try weights.load(
            "model.layers.1.block_sparse_moe.gate.e_score_correction_bias", shape: [4], rows: 0..<1, columns: 0..<4,
            into: bias)
        // Ten steps up or down, or level.
        #expect(bias.array.contains { $0 != 0 })
        #expect(bias.array.allSatisfy { abs(($0 / 0.05).rounded() * 0.05 - $0) < 1e-6 && abs($0) < 0.51 })
    }

    /// Micro-batches that are alike have the losses and the gradient of one of them, whatever is added to the loss.
    @Test(arguments: [1, 2], [false, true])
    func lossesAreMeansOverMicroBatches(worldSize: Int, balancesSequences: Bool) throws {
        // Every other sequence is the same.
        try fixture.write((0..<600).map { UInt16($0 % 16 * 5 % 13) }, to: "train.bin")
        var routing = RoutingPolicy()
        routing.zLossCoefficient = 0.1
        routing.balancesSequences = balancesSequences
        routing.biasUpdateRate = 0.01
        let file = try configuration(routing, auxiliaryLoss: 0.5)
        func train(microBatches: Int) throws -> [StepMetrics] {
            try fixture.train(worldSize: worldSize, steps: 1) { options in
                options.modelConfiguration = file
                options.dataOrder = .sequential
                options.microBatches = microBatches
                options.batchSize = 2 * microBatches
            }
        }
        let (one, three) = (try train(microBatches: 1)[0], try train(microBatches: 3)[0])
        #expect(three.expertLoad == one.expertLoad.map { $0.map { 3 * $0 } })
        for (name, found, expected) in [
            ("loss", three.loss, one.loss), ("auxiliary loss", three.auxiliaryLoss, one.auxiliaryLoss),
            ("z-loss", three.zLoss, one.zLoss), ("gradient norm", three.gradientNorm, one.gradientNorm),
        ] { #expect(abs(found - expected) < 1e-4 * expected, "\(name): \(found) instead of \(expected)") }
        // Of two layers; a token has four logits of about 1.
        #expect((2...10).contains(one.zLoss), "\(one.zLoss)")
    }

    /// Noise is that of a token's place in the batch, whatever rank has it and in whichever micro-batch.
    @Test(arguments: [(1, 1, 3), (2, 2, 1), (4, 2, 3), (3, 1, 1)])
    func noiseIsTheTokens(worldSize: Int, tensorParallel: Int, microBatches: Int) throws {
        var routing = RoutingPolicy()
        routing.jitter = 0.5
        let file = try configuration(routing, auxiliaryLoss: 0)
        func train(_ worldSize: Int, _ tensorParallel: Int, _ microBatches: Int) throws -> [StepMetrics] {
            try fixture.train(worldSize: worldSize, steps: 2) { options in
                options.modelConfiguration = file
                options.tensorParallel = tensorParallel
                options.microBatches = microBatches
            }
        }
        let reference = try train(1, 1, 1)
        for (found, expected) in zip(try train(worldSize, tensorParallel, microBatches), reference) {
            #expect(abs(found.loss - expected.loss) < 1e-4 && found.expertLoad == expected.expertLoad)
        }
    }

    /// Biases follow what tokens chose, also where most of it finds no place.
    @Test func biasesFollowWhatWasChosen() throws {
        var routing = RoutingPolicy()
        routing.biasUpdateRate = 0.05
        let file = try configuration(routing)
        let directory = fixture.path("checkpoints")
        let metrics = try fixture.train(steps: 1) { options in
            options.modelConfiguration = file
            options.capacity = ExpertCapacity(factor: 0.01)
            options.checkpointDirectory = directory
        }
        let weights = try MixtralCheckpoint(directory: "\(directory)/step-1").weights
        for layer in 0..<2 {
            let bias = Tensor(rows: 1, columns: 4)
            try weights.load(
                "model.layers.\(layer).block_sparse_moe.gate.e_score_correction_bias", shape: [4], rows: 0..<1,
                columns: 0..<4, into: bias)
            // 96 choices of 4 experts.
            #expect(bias.array == metrics[0].expertLoad[layer].map { 0.05 * Float((24 - $0).signum()) })
            #expect(bias.array.contains { $0 != 0 })
        }
    }

    @Test func expertChoiceGivesEvenLoads() throws {
        let file = try configuration(Self.expertChoice, auxiliaryLoss: 0)
        let reference = try fixture.train(steps: 40) { $0.modelConfiguration = file }
        #expect(reference.allSatisfy { $0.expertLoad == [[24, 24, 24, 24], [24, 24, 24, 24]] })
        #expect(reference[39].loss < reference[0].loss - 0.5)
        let metrics = try fixture.train(worldSize: 3, steps: 3) { $0.modelConfiguration = file }
        for (found, expected) in zip(metrics, reference) { #expect(abs(found.loss - expected.loss) < 1e-4) }
    }

    /// Sequences that begin with the same token have equal scores there, but for what ranks round otherwise.
    @Test(arguments: [true, false])
    func equalScoresAreSoOnAllRanks(isExpertChoice: Bool) throws {
        let file = try configuration(isExpertChoice ? Self.expertChoice : RoutingPolicy(), auxiliaryLoss: 0)
        for seed in 1...12 as ClosedRange<UInt64> {
            let losses = try [1, 3].map { worldSize in
                try fixture.train(worldSize: worldSize, steps: 1) { options in
                    options.modelConfiguration = file
                    options.seed = seed
                    if !isExpertChoice { options.capacity = ExpertCapacity(factor: 1, dropPolicy: .score) }
                }[0].loss
            }
            #expect(abs(losses[0] - losses[1]) < 2e-6 * losses[0], "seed \(seed): \(losses)")
        }
    }

    @Test func whatMakesNoSenseIsRefused() throws {
        let file = try configuration(Self.expertChoice, auxiliaryLoss: 0)
        func reason(_ change: @escaping (inout TrainingOptions) -> Void) throws -> String {
            var options = fixture.options(steps: 1)
            change(&options)
            let final = options
            let outcome = try outcomes(worldSize: 1) { communicator in
                try Trainer(options: final, communicator: communicator, nodes: communicator.nodes()).run()
            }[0]
            guard case .failure(let error) = outcome else { return "" }
            return "\(error)"
        }
        let capacity = try reason { options in
            options.modelConfiguration = file
            options.capacity = ExpertCapacity(factor: 1)
        }
        #expect(capacity.contains("--capacity-factor cannot be used: the model's experts choose tokens"))
        let loss = try reason { options in
            options.modelConfiguration = file
            options.auxiliaryLoss = 0.1
        }
        #expect(loss.contains("--auxiliary-loss must be 0, not 0.1: the model's experts choose tokens"))
        let byBatch = try configuration(RoutingPolicy(), modelType: .deepseek, auxiliaryLoss: 0)
        let ofLayers = try reason { options in
            options.modelConfiguration = byBatch
            options.auxiliaryLoss = 0.1
        }
        #expect(ofLayers.contains("--auxiliary-loss must be 0, not 0.1: with seq_aux false"), "\(ofLayers)")
        let factor = try reason { $0.capacity = ExpertCapacity(factor: 0) }
        #expect(factor.contains("--capacity-factor must be between 0.01 and 1000000.0, not 0.0"))
        let infinite = try reason { $0.capacity = ExpertCapacity(factor: .infinity) }
        #expect(infinite.contains("--capacity-factor must be between"))
    }
}
