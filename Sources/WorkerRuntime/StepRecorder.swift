import ExpertParallelism
import ExpertPlacement
import Layers
import MessagePassing

/// Turns steps into metrics, progress and reports to the coordinator.
final class StepRecorder {
    private let options: TrainingOptions
    private let context: ExpertParallelContext
    private let planRevision: Int
    private let control: ControlPlane
    private let display: ProgressDisplay?
    private let file: MetricsFile?
    private let clock = ContinuousClock()

    private var seconds = 0.0
    private var skippedSteps = 0
    /// What has happened since the last report.
    private var sample: PerformanceSample

    /// Collective.
    init(
        options: TrainingOptions, context: ExpertParallelContext, planRevision: Int, control: ControlPlane,
        display: ProgressDisplay?
    ) throws {
        self.options = options
        self.context = context
        self.planRevision = planRevision
        self.control = control
        self.display = display
        file = try context.communicator.agree {
            context.communicator.rank == 0 ? try options.metrics.map(MetricsFile.init) : nil
        }
        sample = PerformanceSample(firstStep: 1, planRevision: planRevision)
        _ = context.timer.take()
        _ = context.takeBytesSent()
    }

    /// Runs a step and remembers how long it took on this rank.
    func time<Result>(_ body: () throws -> Result) rethrows -> Result {
        let start = clock.now
        defer { seconds = (clock.now - start) / .seconds(1) }
        return try body()
    }

    /// Records step `step`, from 0. Collective.
    func record(
        _ outcome: TrainingStep.Outcome, step: Int, validationLoss: Double?, isLast: Bool
    ) throws {
        let phases = context.timer.take()
        let bytesSent = context.takeBytesSent()
        if outcome.isSkipped { skippedSteps += 1 }
        sample.add(
            seconds: seconds, phases: phases, bytesSent: bytesSent,
            tokens: options.microBatches
                * BatchBlocks.count(of: context.communicator.rank, options: options, worldSize: context.communicator.size))
        if context.communicator.rank == 0 { sample.add(expertLoads: outcome.expertLoads, loss: outcome.loss) }

        var slowest = [seconds]
        var span = slowest.mutableSpan
        try context.communicator.allReduce(&span, .maximum)
        let residentBytes = ResidentMemory.bytes()
        if context.communicator.rank == 0 {
            let metrics = StepMetrics(
                step: step + 1, loss: outcome.loss, auxiliaryLoss: outcome.auxiliaryLoss,
                gradientNorm: outcome.gradientNorm, learningRate: options.schedule.rate(at: step),
                tokensPerSecond: Double(options.batchSize * options.sequenceLength) / slowest[0],
                stepSeconds: slowest[0], planRevision: planRevision, expertLoad: outcome.expertLoads,
                validationLoss: validationLoss,
                phaseSeconds: Dictionary(uniqueKeysWithValues: phases.map { ($0.key.rawValue, $0.value) }),
                bytesSent: bytesSent, residentBytes: residentBytes, skippedSteps: skippedSteps)
            try file?.append(metrics)
            display?.show(metrics)
        }
        if isLast || (step + 1) % options.reportInterval == 0 {
            sample.residentBytes = residentBytes
            control.report(sample)
            sample = PerformanceSample(firstStep: step + 2, planRevision: planRevision)
        }
    }
}
