import Checkpoints
import ExpertParallelism
import ExpertPlacement
import Foundation
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
    private let requests: CheckpointRequests
    private let logger: Logger

    /// - Parameters:
    ///   - nodes: the node of each rank.
    ///   - display: where rank 0 shows the progress.
    ///   - requests: what this rank is asked for while it trains.
    public init(
        options: TrainingOptions, communicator: any Communicator, nodes: [Int], display: ProgressDisplay? = nil,
        requests: CheckpointRequests = CheckpointRequests(), logger: Logger = Logger(label: "moe.worker")
    ) {
        self.options = options
        self.communicator = communicator
        self.nodes = nodes
        self.display = communicator.rank == 0 ? display : nil
        self.requests = requests
        self.logger = logger
    }

    /// Trains, from the newest checkpoint on if there is one. Collective.
    /// - Throws: `JobFailure` on all ranks when one could not go on, or with the code `stopped` when it was asked to end before
    ///   the last step; any other error is this rank's alone.
    public func run() throws {
        defer { display?.finish() }
        let inputs = try TrainingInputs.agreed(options, worldSize: communicator.size, communicator: communicator)
        var resume = try ResumePoint.find(options, inputs, communicator: communicator)
        let resumed = resume?.checkpoint
        let output = try communicator.agree { try TrainingOutput(options, isWriter: communicator.rank == 0) }
        let model = ExpertModel(inputs.configuration)
        let cluster = try Cluster.measure(
            nodes: nodes, model: model, memoryLimit: options.memoryLimitBytes, ownership: options.optimizerPlacement,
            communicator: communicator)
        let control = try ControlPlane.open(
            options: options, model: model, cluster: cluster, checkpoint: resumed?.manifest, communicator: communicator,
            logger: logger)
        var completedSteps = resumed?.manifest.step ?? 0
        do {
            let saver = try options.checkpointDirectory.map {
                try CheckpointSaver(
                    CheckpointDirectory($0), run: control.run, incarnation: control.fileIncarnation,
                    keep: options.checkpointKeep, resumed: resumed?.manifest.step, tokenizer: inputs.tokenizer,
                    communicator: communicator)
            }
            try train(inputs, output, control, &resume, saver, completedSteps: &completedSteps)
        } catch {
            control.fail(step: completedSteps, reason: "\(error)")
            throw error
        }
        let isStopped = completedSteps < options.steps
        try control.complete(
            step: completedSteps, interruption: isStopped ? "asked to stop after step \(completedSteps)" : nil,
            communicator: communicator)
        if isStopped {
            display?.say("stopped after step \(completedSteps); start it again to go on")
            throw JobFailure(rank: 0, exitCode: WorkerError.Code.stopped.rawValue, reason: nil)
        }
    }

    /// - Parameter resume: nil once all is read: files that are open keep their room on the disk, also when they are removed.
    private func train(
        _ inputs: TrainingInputs, _ output: TrainingOutput, _ control: ControlPlane, _ resume: inout ResumePoint?,
        _ saver: CheckpointSaver?, completedSteps: inout Int
    ) throws {
        // Within a machine the ranks' own processors copy rows: there is nothing to hide, and chunks are more messages.
        let overlap = Set(nodes).count > 1 ? options.overlap : options.overlap.subtracting(.dispatch)
        let context = ExpertParallelContext(communicator: communicator, overlap: overlap, seed: options.seed)
        let model = MixtralModel(configuration: inputs.configuration, timer: context.timer)
        model.recomputation = options.recomputation
        let mesh = inputs.mesh
        try parallelizeDense(in: model, mesh: mesh, context: context)
        try communicator.agree {
            try parallelizeExperts(
                in: model, matching: MixtralModel.expertsPattern,
                // Not asked: the plan is there.
                allocator: StaticAllocator(.tensorParallel),
                dispatcher: TokenDispatchers.make(named: options.dispatcherName, seed: options.seed),
                configuration: ParallelConfiguration(
                    layers: model.configuration.sparseLayers.count,
                    expertsPerLayer: .uniform(model.configuration.experts), context: context, nodes: nodes,
                    plan: control.plan, logger: logger))
            try model.loadWeights(from: resume?.weights ?? inputs.weights)
        }
        let optimizer = MoEOptimizer(model: model, context: context, ownership: options.optimizerPlacement)
        let resumed = resume?.checkpoint
        if let resume { try communicator.agree { try resume.restore(optimizer) } }
        resume = nil
        for case let router as Router in model.namedModules().map(\.module) {
            router.assignsEvenly = options.benchmarkEvenRouting
            router.capacity = options.capacity
        }
        introduce(model, control: control, mesh: mesh)
        if let resumed { display?.say("goes on after step \(completedSteps) from \(resumed.path)") }

        // Nobody else writes any more: the checkpoint directory is this start's.
        if completedSteps < options.steps {
            requests.heedInterrupts()
            try communicator.agree { try output.steps?.begin(run: control.run, after: completedSteps) }
        }
        let step = TrainingStep(
            model: model, optimizer: optimizer, context: context, batches: inputs.training, options: options,
            mesh: mesh)
        let evaluation = inputs.validation.map {
            Evaluation(
                model: model, context: context, batches: $0, batchLimit: options.evaluationBatches,
                microBatches: options.microBatches, mesh: mesh)
        }
        let recorder = StepRecorder(
            options: options, context: context, planRevision: control.plan.revision, control: control,
            experts: model.namedModules().compactMap { $0.module as? ParallelExperts }, display: display,
            logs: output.steps, requests: requests, mesh: mesh, completedSteps: completedSteps,
            skippedSteps: completedSteps - optimizer.updates)
        let follower = PlanFollower(
            plan: control.plan, optimizer: optimizer, model: ExpertModel(inputs.configuration),
            cluster: control.cluster,
            source: control.planSource,
            // What a log has in one step moves before it.
            budgetBytes: options.placementReplay == nil ? options.migrationBudgetBytes : .max,
            communicator: communicator)
        try log(Array(follower.placement.layers.indices), of: follower, to: output, step: completedSteps + 1)
        var word = StepRecorder.Word()
        // Where updates have made the weights useless, all steps are skipped: checkpoints of them must not push out good ones.
        var savedUpdates = resumed?.manifest.updates
        do {
            while completedSteps < options.steps, !word.stops {
                let index = completedSteps
                let outcome = try recorder.time {
                    if word.hasOffer {
                        let refusal = try follower.consider(step: index + 1, stepSeconds: recorder.stepSeconds)
                        if let refusal, options.placementReplay != nil {
                            try communicator.agree { throw WorkerError.failed("--placement-replay: \(refusal)") }
                        }
                    }
                    if let progress = try follower.advance(step: index + 1) {
                        try log(progress.migration.layers.sorted(), of: follower, to: output, step: index + 1)
                        try recorder.note(progress, step: index + 1)
                        display?.show(progress, step: index + 1)
                    }
                    return try step.run(step: index)
                }
                let isLast = index + 1 == options.steps
                let evaluates =
                    isLast || (options.evaluationInterval > 0 && (index + 1) % options.evaluationInterval == 0)
                let validationLoss = evaluates ? try validate(evaluation, optimizer, step: index + 1) : nil
                word = try recorder.record(
                    outcome, step: index, validationLoss: validationLoss,
                    hasOffer: follower.hasOffer(before: index + 2),
                    isLast: isLast)
                completedSteps = index + 1
                let isBad = validationLoss.map(endsJob) ?? false
                // Finite weights whose validation loss is not may be of use yet; but after the last step's checkpoint the next start
                // would find nothing left to do, and succeed.
                let isUseless =
                    try isBad && (isLast || communicator.isTrueAnywhere(optimizer.firstNonFiniteWeight() != nil))
                if let saver, !isUseless {
                    let isDue = options.checkpointInterval > 0 && completedSteps % options.checkpointInterval == 0
                    if isLast || word.saves || word.stops || isDue && optimizer.updates != savedUpdates {
                        try save(
                            inputs, saver, step, control, plan: follower.placement, afterSteps: completedSteps,
                            retires: !outcome.isSkipped && !isBad)
                        savedUpdates = optimizer.updates
                    } else if isDue, communicator.rank == 0 {
                        logger.warning(
                            "step \(completedSteps): no checkpoint, because all steps since the last one were skipped")
                    }
                }
                if isBad { try fail(evaluation, optimizer, step: completedSteps) }
            }
        } catch let failure as JobFailure {
            // All ranks end here, and MPI must not be left while messages are under way.
            try optimizer.finishRefresh()
            throw failure
        }
        try optimizer.finishRefresh()
        if let resumed, resumed.manifest.step >= options.steps {
            display?.say("nothing is left to do: \(resumed.manifest.step) of \(options.steps) steps are done")
        }
        if options.steps == 0, let loss = try validate(evaluation, optimizer, step: 0) {
            if endsJob(loss) { try fail(evaluation, optimizer, step: 0) }
            display?.say("validation loss \(loss)")
        }
        if options.steps == 0, resumed == nil, let saver {
            try save(inputs, saver, step, control, plan: follower.placement, afterSteps: 0, retires: true)
        }
    }

    /// Writes down where layers are from step `step` (from 1) on. Collective.
    private func log(_ layers: [Int], of follower: PlanFollower, to output: TrainingOutput, step: Int) throws {
        let placement = follower.placement
        try communicator.agree {
            try output.placements?.append(
                PlacementLog.Change(
                    step: step, revision: follower.plan.revision, worldSize: placement.worldSize, layers: layers,
                    experts: layers.map { placement.layers[$0].experts }))
        }
    }

    /// Writes a checkpoint. Collective.
    /// - Parameter retires: whether older ones may go.
    private func save(
        _ inputs: TrainingInputs, _ saver: CheckpointSaver, _ step: TrainingStep, _ control: ControlPlane,
        plan: PlacementPlan, afterSteps steps: Int, retires: Bool
    ) throws {
        try step.optimizer.finishRefresh()
        try checkWeights(step.optimizer, step: steps)
        let manifest = CheckpointManifest(
            run: control.run, incarnation: control.fileIncarnation, step: steps, updates: step.optimizer.updates,
            data: CheckpointManifest.Data(options, inputs), plan: plan, largestRevision: control.largestRevision,
            allocator: options.allocator, ownership: step.optimizer.ownership, createdAt: Date())
        let saved = try saver.save(manifest, model: step.model, optimizer: step.optimizer, retires: retires)
        display?.show(saved)
        control.note(saved)
    }

    /// The loss over the validation split; nil when there is none, or the run was asked to stop and has a checkpoint to write, which
    /// must not wait for so long. Collective.
    /// - Parameter step: steps done.
    private func validate(_ evaluation: Evaluation?, _ optimizer: MoEOptimizer, step: Int) throws -> Double? {
        guard let evaluation else { return nil }
        try optimizer.finishRefresh()
        let savesWhenStopped = options.steps > 0 && options.checkpointDirectory != nil
        let loss = try evaluation.loss(unless: savesWhenStopped ? { [requests] in requests.isStopped } : nil)
        if loss == nil { display?.say("step \(step): no validation, because the run was asked to stop") }
        return loss
    }

    /// Whether a validation loss ends the job.
    private func endsJob(_ validationLoss: Double) -> Bool { !validationLoss.isFinite && options.onNonFinite == .stop }

    /// Ends the job for its validation loss. Collective.
    private func fail(_ evaluation: Evaluation?, _ optimizer: MoEOptimizer, step: Int) throws -> Never {
        try communicator.failNonFinite(
            "validation loss", step: step, isUpdated: true, cause: evaluation?.nonFiniteCause(optimizer))
    }

    /// The last update may have made weights that no step has used. From such weights no step is of use any more, also when those that
    /// fail are skipped. Collective.
    private func checkWeights(_ optimizer: MoEOptimizer, step: Int) throws {
        try communicator.agree {
            guard let path = optimizer.firstNonFiniteWeight() else { return }
            throw WorkerError.failed(
                "step \(step): the weights of \(path) are not finite on rank \(communicator.rank) and were not "
                    + "saved. Try a lower --learning-rate or --gradient-clip 1")
        }
    }

    private func introduce(_ model: MixtralModel, control: ControlPlane, mesh: DenseMesh) {
        guard let display else { return }
        let parameters = model.namedWeights().reduce(0) { $0 + $1.shape.reduce(1, *) }
        let meshText = mesh.tensorParallel == 1 ? "" : "mesh \(mesh.dataParallel) × \(mesh.tensorParallel), "
        display.say(
            "run \(control.run): \(parameters) parameters, \(model.configuration.layerSummary), "
                + "top \(model.configuration.expertsPerToken); "
                + "\(communicator.size) rank\(communicator.size == 1 ? "" : "s"), "
                + meshText
                + "\(options.threads) thread\(options.threads == 1 ? "" : "s") a rank, "
                + "\(options.precision.rawValue), \(BLASInfo.description)")
        display.say("placement revision \(control.plan.revision) from \(control.origin)")
    }
}
