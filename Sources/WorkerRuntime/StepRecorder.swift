import CGlibc
import ExpertParallelism
import ExpertPlacement
import Layers
import MessagePassing

/// Turns steps into metrics, progress, and samples for the coordinator and the dispatchers.
package final class StepRecorder {
    private let options: TrainingOptions
    private let context: ExpertParallelContext
    private var planRevision: Int
    private let control: ControlPlane
    /// Their dispatchers get this rank's samples.
    private let experts: [ParallelExperts]
    private let display: ProgressDisplay?
    private let logs: StepLogs?
    private let requests: CheckpointRequests
    private let ownTokensPerStep: Int
    private let clock = ContinuousClock()

    /// What this rank measured in the step that was timed last.
    private struct Measurement {
        var seconds = 0.0
        var phases = [Phase: PhaseTimer.Time]()
        var bytesSent = 0
        /// By layer.
        var work = [ParallelExperts.Work]()
        /// Of experts that moved before the step.
        var migration: MigrationReport?
        /// Whether the last layers of a plan switched before the step.
        var isSwitched = false

        func seconds(of phase: Phase) -> Double { phases[phase]?.seconds ?? 0 }
        func processorSeconds(of phase: Phase) -> Double { phases[phase]?.processorSeconds ?? 0 }
    }
    private var measurement = Measurement()
    private var skippedSteps: Int
    /// Of the last step that was recorded, on the slowest rank.
    private(set) var stepSeconds = 0.0
    /// Steps that this process has recorded. After 1, 2, 4, 8 … of them it gives the system back what it has freed: before version 2.38
    /// glibc puts aligned blocks, as oneDNN packs factors into, up to eight times beside where one has been
    /// (https://sourceware.org/bugzilla/show_bug.cgi?id=14581).
    private var recordedSteps = 0
    /// What has happened since the last sample was handed on.
    private var sample: PerformanceSample
    /// Steps of the sample that were not skipped.
    private var loadedSteps = 0

    /// What any rank has said after a step, and now all know.
    package struct Word {
        /// Whether there is a plan to look at.
        package var hasOffer = false
        /// Whether a checkpoint was asked for.
        package var saves = false
        /// Whether the run was asked to end.
        package var stops = false
    }

    /// - Parameters:
    ///   - logs: on rank 0, where metrics go.
    ///   - mesh: that of the model's attention; nil: it is not spread over ranks.
    ///   - completedSteps: by incarnations before, `skippedSteps` of them without an update.
    package init(
        options: TrainingOptions, context: ExpertParallelContext, planRevision: Int, control: ControlPlane,
        experts: [ParallelExperts], display: ProgressDisplay?, logs: StepLogs?,
        requests: CheckpointRequests = CheckpointRequests(), mesh: DenseMesh? = nil, completedSteps: Int = 0,
        skippedSteps: Int = 0
    ) {
        self.options = options
        self.context = context
        self.planRevision = planRevision
        self.control = control
        self.experts = experts
        self.display = display
        self.logs = logs
        self.requests = requests
        self.skippedSteps = skippedSteps
        ownTokensPerStep =
            BatchBlocks(
                options, rank: context.communicator.rank,
                mesh: mesh ?? DenseMesh(dataParallel: context.communicator.size)
            ).ownTokensPerStep
        sample = PerformanceSample(firstStep: completedSteps + 1, planRevision: planRevision)
    }

    /// Runs a step and remembers how long it took on this rank, and what it sent. What happened between steps (an
    /// evaluation) does not count.
    package func time<Result>(_ body: () throws -> Result) rethrows -> Result {
        _ = context.timer.take()
        _ = context.takeBytesSent()
        for group in experts { _ = group.takeWork() }
        measurement = Measurement()
        let start = clock.now
        let result = try body()
        measurement.seconds = (clock.now - start) / .seconds(1)
        measurement.phases = context.timer.take()
        measurement.bytesSent = context.takeBytesSent()
        measurement.work = experts.map { $0.takeWork() }
        return result
    }

    /// Notes what moved before the step that is being timed, step `step` from 1. Collective when a plan's first layers have
    /// switched, or its last.
    package func note(_ progress: PlanFollower.Progress, step: Int) throws {
        measurement.migration = progress.migration
        if let revision = progress.completedRevision { planRevision = revision }
        measurement.isSwitched = progress.completedRevision != nil
        guard sample.planRevision != PerformanceSample.switchingRevision else { return }
        // A sample is of one plan, or of the steps from one to the next.
        if sample.stepCount > 0 { try handOnSample() }
        beginSample(firstStep: step, planRevision: PerformanceSample.switchingRevision)
    }

    private func beginSample(firstStep: Int, planRevision: Int) {
        sample = PerformanceSample(firstStep: firstStep, planRevision: planRevision)
        loadedSteps = 0
    }

    /// Records step `step`, from 0, which `time` has run. Collective.
    /// - Parameter hasOffer: whether this rank has a plan to offer.
    /// - Returns: what any rank has heard from outside.
    /// - Throws: `JobFailure` when metrics cannot be written, or the run was started again elsewhere.
    @discardableResult
    package func record(
        _ outcome: TrainingStep.Outcome, step: Int, validationLoss: Double?, hasOffer: Bool = false, isLast: Bool
    ) throws -> Word {
        let communicator = context.communicator
        recordedSteps += 1
        if recordedSteps & (recordedSteps - 1) == 0 { malloc_trim(0) }
        if outcome.isSkipped { skippedSteps += 1 }
        sample.add(
            seconds: measurement.seconds, phases: measurement.phases, work: measurement.work,
            bytesSent: measurement.bytesSent, tokens: ownTokensPerStep)
        if communicator.rank == 0 {
            // JSON has no infinities.
            sample.loss = outcome.loss.isFinite ? outcome.loss : nil
            // A step that was skipped may have ended before all its micro-batches.
            if !outcome.isSkipped {
                sample.add(expertLoads: outcome.computedLoads, droppedLoads: outcome.droppedLoads)
                loadedSteps += 1
            }
        }

        // One reduction tells the slowest rank's time, whether any rank heard that the run was started again, whether there is a
        // plan, what signals ask for, and whether rank 0 writes metrics.
        let isSuperseded = control.isSuperseded
        var largest: [Double] = [
            measurement.seconds, isSuperseded ? 1 : 0, hasOffer ? 1 : 0, requests.takeSave() ? 1 : 0,
            requests.isStopped ? 1 : 0, logs == nil ? 0 : 1,
        ]
        var span = largest.mutableSpan
        try communicator.allReduce(&span, .maximum)
        if largest[1] > 0 { try communicator.agree { if isSuperseded { throw control.supersededError } } }
        stepSeconds = largest[0]
        let logsSteps = largest[5] > 0
        let metrics = metrics(
            outcome, step: step, validationLoss: validationLoss,
            ranks: logsSteps ? try rankMetrics() : RankMetrics())
        if logsSteps { try communicator.agree { try logs?.append(metrics) } }
        display?.show(metrics)
        if isLast || isReportDue(afterSteps: step + 1) || measurement.isSwitched {
            try handOnSample()
            beginSample(
                firstStep: step + 2, planRevision: measurement.isSwitched ? planRevision : sample.planRevision)
        }
        return Word(hasOffer: largest[2] > 0, saves: largest[3] > 0, stops: largest[4] > 0)
    }

    /// Every interval, and in the first one after 2, 4, 8 … steps as well, as long as as many are left: whoever plans
    /// knows no loads before.
    private func isReportDue(afterSteps steps: Int) -> Bool {
        steps % options.reportInterval == 0
            || steps > 1 && steps <= options.reportInterval / 2 && steps & (steps - 1) == 0
    }

    /// Gives the sample to the coordinator or the planner in this job, and to the dispatchers. Collective.
    private func handOnSample() throws {
        sample.residentBytes = ResidentMemory.bytes()
        let sample = sample.completingLoads(loadedSteps: loadedSteps)
        try control.collect(sample, communicator: context.communicator)
        for group in experts { group.collectPerformance(sample, rank: context.communicator.rank) }
    }

    private func metrics(
        _ outcome: TrainingStep.Outcome, step: Int, validationLoss: Double?, ranks: RankMetrics
    ) -> StepMetrics {
        var metrics = StepMetrics(
            step: step + 1, loss: outcome.loss, auxiliaryLoss: outcome.auxiliaryLoss,
            gradientNorm: outcome.gradientNorm, learningRate: options.schedule.rate(at: step),
            tokensPerSecond: Double(options.batchSize * options.sequenceLength) / stepSeconds,
            stepSeconds: stepSeconds, planRevision: planRevision, expertLoad: outcome.expertLoads,
            validationLoss: validationLoss,
            phaseSeconds: Dictionary(
                uniqueKeysWithValues: measurement.phases.map { ($0.key.rawValue, $0.value.seconds) }),
            bytesSent: measurement.bytesSent, residentBytes: ResidentMemory.bytes(), skippedSteps: skippedSteps)
        metrics.migrationBytes = measurement.migration?.totalBytes
        metrics.migrationSeconds = measurement.migration?.transferSeconds
        metrics.verifySeconds = measurement.migration?.checksumSeconds
        metrics.zLoss = outcome.zLoss
        metrics.droppedTokens = outcome.droppedLoads.map { $0.reduce(0, +) }
        metrics.ranks = ranks
        return metrics
    }

    /// What all ranks measured. Collective.
    private func rankMetrics() throws -> RankMetrics {
        try RankMetrics(
            RankMetrics.Own(
                rows: measurement.work.map(\.rows), work: measurement.work.map(\.neuronRows),
                expertSeconds: measurement.seconds(of: .experts),
                processorSeconds: measurement.processorSeconds(of: .experts),
                denseProcessorSeconds: measurement.processorSeconds(of: .attention)
                    + measurement.processorSeconds(of: .router),
                exchangeSeconds: measurement.seconds(of: .dispatch) + measurement.seconds(of: .combine)),
            communicator: context.communicator)
    }
}
