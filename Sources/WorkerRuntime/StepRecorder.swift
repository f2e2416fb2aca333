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
    private let ownTokensPerStep: Int
    private let clock = ContinuousClock()

    /// What this rank measured in the step that was timed last.
    private struct Measurement {
        var seconds = 0.0
        var phases = [Phase: Double]()
        var bytesSent = 0
    }
    private var measurement = Measurement()
    private var skippedSteps = 0
    /// What has happened since the last report.
    private var sample: PerformanceSample

    /// - Parameter file: on rank 0, where metrics go.
    init(
        options: TrainingOptions, context: ExpertParallelContext, planRevision: Int, control: ControlPlane,
        display: ProgressDisplay?, file: MetricsFile?
    ) {
        self.options = options
        self.context = context
        self.planRevision = planRevision
        self.control = control
        self.display = display
        self.file = file
        ownTokensPerStep =
            BatchBlocks(options, rank: context.communicator.rank, worldSize: context.communicator.size)
            .ownTokensPerStep
        sample = PerformanceSample(firstStep: 1, planRevision: planRevision)
    }

    /// Runs a step and remembers how long it took on this rank, and what it sent. What happened between steps (an
    /// evaluation) does not count.
    func time<Result>(_ body: () throws -> Result) rethrows -> Result {
        _ = context.timer.take()
        _ = context.takeBytesSent()
        let start = clock.now
        let result = try body()
        measurement = Measurement(
            seconds: (clock.now - start) / .seconds(1), phases: context.timer.take(),
            bytesSent: context.takeBytesSent())
        return result
    }

    /// Records step `step`, from 0, which `time` has run. Collective.
    /// - Throws: on rank 0 `WorkerError` when the metrics file cannot be written; on the others `OtherRankFailed`.
    func record(_ outcome: TrainingStep.Outcome, step: Int, validationLoss: Double?, isLast: Bool) throws {
        let communicator = context.communicator
        if outcome.isSkipped { skippedSteps += 1 }
        sample.add(
            seconds: measurement.seconds, phases: measurement.phases, bytesSent: measurement.bytesSent,
            tokens: ownTokensPerStep)
        if communicator.rank == 0 { sample.add(expertLoads: outcome.expertLoads, loss: outcome.loss) }

        var slowest = [measurement.seconds]
        var span = slowest.mutableSpan
        try communicator.allReduce(&span, .maximum)
        let residentBytes = ResidentMemory.bytes()
        let metrics = StepMetrics(
            step: step + 1, loss: outcome.loss, auxiliaryLoss: outcome.auxiliaryLoss,
            gradientNorm: outcome.gradientNorm, learningRate: options.schedule.rate(at: step),
            tokensPerSecond: Double(options.batchSize * options.sequenceLength) / slowest[0],
            stepSeconds: slowest[0], planRevision: planRevision, expertLoad: outcome.expertLoads,
            validationLoss: validationLoss,
            phaseSeconds: Dictionary(uniqueKeysWithValues: measurement.phases.map { ($0.key.rawValue, $0.value) }),
            bytesSent: measurement.bytesSent, residentBytes: residentBytes, skippedSteps: skippedSteps)
        if options.metrics != nil { try communicator.agree { try file?.append(metrics) } }
        display?.show(metrics)
        if isLast || (step + 1) % options.reportInterval == 0 {
            sample.residentBytes = residentBytes
            control.report(sample)
            sample = PerformanceSample(firstStep: step + 2, planRevision: planRevision)
        }
    }
}
