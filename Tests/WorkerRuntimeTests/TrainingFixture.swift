import ExpertParallelism
import ExpertPlacement
import Foundation
import Layers
import MessagePassing
import Mixtral
import Testing
import WorkerRuntime

/// A folder with a little data and a model of a few thousand parameters. Removed with the value, so a suite holds it.
final class TrainingFixture: Sendable {
    static let vocabularySize = 13
    static let sequenceLength = 8

    let folder: URL

    /// - Parameters:
    ///   - layers: of the model.
    ///   - validationTokens: in `val.bin`.
    init(layers: Int = 2, rmsNormEpsilon: Double = 1e-5, validationTokens: Int = 100) throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "moe-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        // Each token is a function of the two before it, so there is something to learn.
        var tokens: [UInt16] = [1, 2]
        while tokens.count < 600 + validationTokens {
            let (a, b) = (Int(tokens[tokens.count - 2]), Int(tokens[tokens.count - 1]))
            tokens.append(UInt16((a + 3 * b + 1) % Self.vocabularySize))
        }
        try write(tokens.prefix(600), to: "train.bin")
        try write(tokens.suffix(validationTokens), to: "val.bin")
        try Self.configuration(layers: layers, rmsNormEpsilon: rmsNormEpsilon).json()
            .write(to: folder.appending(path: "config.json"))
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    static func configuration(layers: Int, rmsNormEpsilon: Double = 1e-5) throws -> MixtralConfiguration {
        try MixtralConfiguration(
            vocabularySize: vocabularySize, hiddenSize: 16, intermediateSize: 12, layers: layers, heads: 4,
            keyValueHeads: 2, experts: 4, expertsPerToken: 2, maximumPositions: 16, rmsNormEpsilon: rmsNormEpsilon,
            initializerRange: 0.2, routerAuxiliaryLossCoefficient: 0.02)
    }

    func write(_ tokens: some Sequence<UInt16>, to name: String) throws {
        let bytes = tokens.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8(truncatingIfNeeded: $0 >> 8)] }
        try Data(bytes).write(to: folder.appending(path: name))
    }

    func path(_ name: String) -> String { folder.appending(path: name).path }

    func options(steps: Int) -> TrainingOptions {
        var options = TrainingOptions(
            data: folder.path, steps: steps, batchSize: 6, sequenceLength: Self.sequenceLength,
            schedule: LearningRateSchedule(
                shape: .constant, learningRate: 1e-2, minimum: 0, warmupSteps: 0, steps: steps))
        options.modelConfiguration = path("config.json")
        options.seed = 7
        return options
    }
}

/// What the ranks of a world return or throw, in rank order.
func outcomes<Value: Sendable>(
    worldSize: Int, _ body: @escaping @Sendable (ThreadCommunicator) throws -> Value
) throws -> [Result<Value, any Error>] {
    try ThreadCommunicator.run(worldSize: worldSize) { communicator in Result { try body(communicator) } }
}

extension TrainingFixture {
    /// Trains on `worldSize` threads; what the metrics file says.
    /// - Parameter nodes: of the ranks; nil: all on one.
    func train(
        worldSize: Int = 1, steps: Int = 12, nodes: [Int]? = nil, change: (inout TrainingOptions) -> Void = { _ in }
    ) throws -> [StepMetrics] {
        var options = options(steps: steps)
        let metrics = path("metrics-\(UUID().uuidString).jsonl")
        options.metrics = metrics
        change(&options)
        let final = options
        _ = try ThreadCommunicator.run(worldSize: worldSize) { communicator in
            try Trainer(options: final, communicator: communicator, nodes: nodes ?? communicator.nodes()).run()
        }
        return try lines(ofMetrics: metrics)
    }

    /// What a file of `--metrics` says.
    func lines(ofMetrics path: String) throws -> [StepMetrics] {
        try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map {
            try JSONDecoder().decode(StepMetrics.self, from: Data($0.utf8))
        }
    }

    /// A model with random weights whose experts are on one rank each.
    static func model(
        on communicator: ThreadCommunicator, dispatcher: any TokenDispatcher = RandomDispatcher(seed: 1)
    ) throws -> (model: MixtralModel, context: ExpertParallelContext, plan: PlacementPlan) {
        let configuration = try Self.configuration(layers: 2)
        let context = ExpertParallelContext(communicator: communicator)
        let model = MixtralModel(configuration: configuration, timer: context.timer)
        let plan = try parallelizeExperts(
            in: model, matching: #"model\.layers\.\d+\.block_sparse_moe\.experts"#,
            allocator: StaticAllocator(.expertParallel), dispatcher: dispatcher,
            configuration: ParallelConfiguration(
                layers: configuration.layers, expertsPerLayer: .uniform(configuration.experts), context: context))
        try model.loadWeights(from: RandomWeights(seed: 3, standardDeviation: 0.2))
        return (model, context, plan)
    }

    /// The one reason that the ranks of a job give, which all end with the same code.
    func failure(
        worldSize: Int, steps: Int = 12, exitCode: Int32, _ change: (inout TrainingOptions) -> Void
    ) throws -> String {
        var options = options(steps: steps)
        change(&options)
        let final = options
        let results = try outcomes(worldSize: worldSize) { communicator in
            try Trainer(options: final, communicator: communicator, nodes: communicator.nodes()).run()
        }
        var reasons = [String]()
        for result in results {
            guard case .failure(let error as JobFailure) = result else {
                Issue.record("\(result)")
                continue
            }
            #expect(error.exitCode == exitCode)
            if let reason = error.reason { reasons.append("\(reason)") }
        }
        #expect(reasons.count == 1)
        return reasons.first ?? ""
    }
}
