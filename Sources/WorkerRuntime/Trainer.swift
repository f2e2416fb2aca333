import ControlProtocol
import ExpertParallelism
import ExpertPlacement
import Layers
import Logging
import MessagePassing
import Mixtral
import Tensors
import TokenData

/// A training run on one rank, from the options to the last checkpoint.
public final class Trainer {
    private let options: TrainingOptions
    private let communicator: any Communicator
    private let nodes: [Int]
    /// Rank 0's progress; nil on the others.
    private let display: ProgressDisplay?
    private let logger: Logger

    /// - Parameter nodes: the node of each rank.
    public init(
        options: TrainingOptions, communicator: any Communicator, nodes: [Int], display: ProgressDisplay? = nil,
        logger: Logger = Logger(label: "moe.worker")
    ) {
        self.options = options
        self.communicator = communicator
        self.nodes = nodes
        self.display = communicator.rank == 0 ? display : nil
        self.logger = logger
    }

    /// Trains. Collective.
    public func run() throws {
        let inputs = try communicator.agree { try TrainingInputs(options, worldSize: communicator.size) }
        let context = ExpertParallelContext(communicator: communicator)
        let model = MixtralModel(configuration: inputs.configuration, timer: context.timer)
        let control = try ControlPlane.open(
            options: options, model: ExpertModel(inputs.configuration), nodes: nodes, communicator: communicator)
        defer { control.finish() }
        let plan = try parallelize(model, context: context, plan: control.plan)
        try communicator.agree { try model.loadWeights(from: inputs.weights) }
        let optimizer = MoEOptimizer(model: model, context: context)
        introduce(model, inputs: inputs, plan: plan, control: control)

        let step = TrainingStep(
            model: model, optimizer: optimizer, context: context, batches: inputs.training, options: options)
        let evaluation = inputs.validation.map {
            Evaluation(
                model: model, context: context, batches: $0, batchSize: options.batchSize,
                sequenceLength: options.sequenceLength, batchLimit: options.evaluationBatches)
        }
        let recorder = try StepRecorder(
            options: options, context: context, planRevision: plan.revision, control: control, display: display)
        for index in 0..<options.steps {
            let outcome = try recorder.time { try step.run(step: index) }
            let isLast = index + 1 == options.steps
            let evaluates = isLast || (options.evaluationInterval > 0 && (index + 1) % options.evaluationInterval == 0)
            let validationLoss = evaluates ? try evaluation?.loss() : nil
            try recorder.record(outcome, step: index, validationLoss: validationLoss, isLast: isLast)
        }
        try save(model, inputs: inputs)
    }

    private func parallelize(
        _ model: MixtralModel, context: ExpertParallelContext, plan: PlacementPlan?
    ) throws -> PlacementPlan {
        try communicator.agree {
            var configuration = ParallelConfiguration(
                layers: model.configuration.layers, expertsPerLayer: .uniform(model.configuration.experts),
                context: context, nodes: nodes, plan: plan, logger: logger)
            if configuration.plan == nil { configuration.nodes = nodes }
            var plan = try parallelizeExperts(
                in: model, matching: #"model\.layers\.\d+\.block_sparse_moe\.experts"#,
                allocator: Allocators.make(named: options.allocator),
                dispatcher: TokenDispatchers.make(named: options.dispatcher, seed: options.seed),
                configuration: configuration)
            if plan.revision == 0 { plan.revision = 1 }
            return plan
        }
    }

    private func introduce(_ model: MixtralModel, inputs: TrainingInputs, plan: PlacementPlan, control: ControlPlane) {
        guard let display else { return }
        let parameters = model.namedWeights().reduce(0) { $0 + $1.shape.reduce(1, *) }
        display.say(
            "run \(options.run): \(parameters) parameters, \(model.configuration.layers) layers of "
                + "\(model.configuration.experts) experts, top \(model.configuration.expertsPerToken); "
                + "\(communicator.size) ranks, \(options.threads) thread\(options.threads == 1 ? "" : "s") a rank, "
                + "BLAS kernel \(BLASInfo.kernel)")
        display.say("placement revision \(plan.revision) by \(control.origin)")
    }

    private func save(_ model: MixtralModel, inputs: TrainingInputs) throws {
        guard let directory = options.checkpointDirectory else { return }
        let writer = ModelWriter(
            directory: directory, step: options.steps, configuration: model.configuration,
            weights: model.namedWeights(), additionalFiles: inputs.tokenizerFile.map { [$0] } ?? [])
        let isWriting = communicator.rank == 0
        try communicator.agree { if isWriting { try writer.begin() } }
        // Collective; the writer keeps its errors until the end, so that no rank is left waiting.
        try model.storeWeights(to: isWriting ? writer : ModelWriterDiscard())
        try communicator.agree { if isWriting { _ = try writer.finish() } }
        display?.say("saved the weights to \(writer.path)")
    }
}
