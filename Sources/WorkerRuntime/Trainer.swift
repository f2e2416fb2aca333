import ExpertParallelism
import ExpertPlacement
import Layers
import Logging
import MessagePassing
import Mixtral
import Tensors

/// A training run on one rank, from the options to the last checkpoint.
public final class Trainer {
    private let options: TrainingOptions
    private let communicator: any Communicator
    private let nodes: [Int]
    /// Rank 0's progress; nil on the others.
    private let display: ProgressDisplay?
    private let logger: Logger

    /// - Parameters:
    ///   - nodes: the node of each rank.
    ///   - display: where rank 0 shows the progress.
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
    /// - Throws: `JobFailure` on all ranks when one could not go on; any other error is this rank's alone.
    public func run() throws {
        defer { display?.finish() }
        let inputs = try communicator.agree { try TrainingInputs(options, worldSize: communicator.size) }
        let output = try communicator.agree { try TrainingOutput(options, isWriter: communicator.rank == 0) }
        let model = ExpertModel(inputs.configuration)
        let cluster = try Cluster.measure(
            nodes: nodes, model: model, memoryLimit: options.memoryLimitBytes, ownership: options.optimizerPlacement,
            communicator: communicator)
        let control = try ControlPlane.open(
            options: options, model: model, cluster: cluster, communicator: communicator,
            logger: logger)
        var completedSteps = 0
        do {
            try train(inputs, output, control, completedSteps: &completedSteps)
        } catch {
            control.fail(step: completedSteps, reason: "\(error)")
            throw error
        }
        try control.complete(step: completedSteps, communicator: communicator)
    }

    private func train(
        _ inputs: TrainingInputs, _ output: TrainingOutput, _ control: ControlPlane, completedSteps: inout Int
    ) throws {
        let context = ExpertParallelContext(communicator: communicator)
        let model = MixtralModel(configuration: inputs.configuration, timer: context.timer)
        try communicator.agree {
            try parallelizeExperts(
                in: model, matching: MixtralModel.expertsPattern,
                // Not asked: the plan is there.
                allocator: StaticAllocator(.tensorParallel),
                dispatcher: TokenDispatchers.make(named: options.dispatcherName, seed: options.seed),
                configuration: ParallelConfiguration(
                    layers: model.configuration.layers, expertsPerLayer: .uniform(model.configuration.experts),
                    context: context, nodes: nodes, plan: control.plan, logger: logger))
            try model.loadWeights(from: inputs.weights)
        }
        let optimizer = MoEOptimizer(model: model, context: context, ownership: options.optimizerPlacement)
        if options.benchmarkEvenRouting {
            for case let router as Router in model.namedModules().map(\.module) { router.assignsEvenly = true }
        }
        introduce(model, control: control)

        let step = TrainingStep(
            model: model, optimizer: optimizer, context: context, batches: inputs.training, options: options)
        let evaluation = inputs.validation.map {
            Evaluation(model: model, context: context, batches: $0, batchLimit: options.evaluationBatches)
        }
        let recorder = StepRecorder(
            options: options, context: context, planRevision: control.plan.revision, control: control,
            experts: model.namedModules().compactMap { $0.module as? ParallelExperts }, display: display,
            file: output.metrics)
        let follower = PlanFollower(
            plan: control.plan, optimizer: optimizer, model: ExpertModel(inputs.configuration),
            cluster: control.cluster,
            source: control.planSource, budgetBytes: options.migrationBudgetBytes, communicator: communicator)
        var isOffered = false
        for index in 0..<options.steps {
            let outcome = try recorder.time {
                if isOffered { _ = try follower.consider(step: index + 1, stepSeconds: recorder.stepSeconds) }
                if let progress = try follower.advance(step: index + 1) {
                    try recorder.note(progress, step: index + 1)
                    display?.show(progress, step: index + 1)
                }
                return try step.run(step: index)
            }
            let isLast = index + 1 == options.steps
            let evaluates = isLast || (options.evaluationInterval > 0 && (index + 1) % options.evaluationInterval == 0)
            let validationLoss = evaluates ? try validate(evaluation, optimizer, step: index + 1) : nil
            isOffered = try recorder.record(
                outcome, step: index, validationLoss: validationLoss, hasOffer: follower.hasOffer, isLast: isLast)
            completedSteps = index + 1
        }
        if options.steps == 0, let loss = try validate(evaluation, optimizer, step: 0) {
            display?.say("validation loss \(loss)")
        }
        if options.onNonFinite == .stop, output.savesWeights { try checkWeights(optimizer) }
        try output.save(model, step: options.steps, tokenizerFile: inputs.tokenizerFile, communicator: communicator)
            .map { display?.say("saved the weights to \($0)") }
    }

    /// The loss over the validation split; nil when there is none. Collective.
    /// - Parameter step: steps done.
    private func validate(_ evaluation: Evaluation?, _ optimizer: MoEOptimizer, step: Int) throws -> Double? {
        guard let evaluation else { return nil }
        let loss = try evaluation.loss()
        if !loss.isFinite, options.onNonFinite == .stop {
            try communicator.failNonFinite(
                "validation loss", step: step, isUpdated: true, cause: try evaluation.nonFiniteCause(optimizer))
        }
        return loss
    }

    /// The last update may have made weights that no step has used. Collective.
    private func checkWeights(_ optimizer: MoEOptimizer) throws {
        try communicator.agree {
            guard let path = optimizer.firstNonFiniteWeight() else { return }
            throw WorkerError.failed(
                "step \(options.steps): the weights of \(path) are not finite on rank \(communicator.rank) and were not "
                    + "saved. Try a lower --learning-rate or --gradient-clip 1")
        }
    }

    private func introduce(_ model: MixtralModel, control: ControlPlane) {
        guard let display else { return }
        let parameters = model.namedWeights().reduce(0) { $0 + $1.shape.reduce(1, *) }
        display.say(
            "run \(control.run): \(parameters) parameters, \(model.configuration.layers) layers of "
                + "\(model.configuration.experts) experts, top \(model.configuration.expertsPerToken); "
                + "\(communicator.size) rank\(communicator.size == 1 ? "" : "s"), "
                + "\(options.threads) thread\(options.threads == 1 ? "" : "s") a rank, BLAS kernel \(BLASInfo.kernel)")
        display.say("placement revision \(control.plan.revision) from \(control.origin)")
    }
}
