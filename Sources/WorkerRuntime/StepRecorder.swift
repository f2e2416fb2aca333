import ExpertParallelism
import ExpertPlacement
import Layers
import MessagePassing

/// Turns steps into metrics, progress, and samples for the coordinator and the dispatchers.
package final class StepRecorder {
    private let options: TrainingOptions
    private let context: ExpertParallelContext
    private let planRevision: Int
    private let control: ControlPlane
    /// Their dispatchers get this rank's samples.
    private let experts: [ParallelExperts]
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
    /// What has happened since the last sample was handed on.
    private var sample: PerformanceSample

    /// - Parameter file: on rank 0, where metrics go.
    package init(
        options: TrainingOptions, context: ExpertParallelContext, planRevision: Int, control: ControlPlane,
        experts: [ParallelExperts], display: ProgressDisplay?, file: MetricsFile?
    ) {
        self.options = options
        self.context = context
        self.planRevision = planRevision
        self.control = control
        self.experts = experts
        self.display = display
        self.file = file
        ownTokensPerStep =
            BatchBlocks(options, rank: context.communicator.rank, worldSize: context.communicator.size)
            .ownTokensPerStep
        sample = PerformanceSample(firstStep: 1, planRevision: planRevision)
    }

    /// Runs a step and remembers how long it took on this rank, and what it sent. What happened between steps (an
    /// evaluation) does not count.
    package func time<Result>(_ body: () throws -> Result) rethrows -> Result {
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
    /// - Throws: `JobFailure` when the metrics file cannot be written, or the run was started again elsewhere.
    package func record(_ outcome: TrainingStep.Outcome, step: Int, validationLoss: Double?, isLast: Bool) throws {
        let communicator = context.communicator
        if outcome.isSkipped { skippedSteps += 1 }
        sample.add(
            seconds: measurement.seconds, phases: measurement.phases, bytesSent: measurement.bytesSent,
            tokens: ownTokensPerStep)
        if communicator.rank == 0 { sample.add(expertLoads: outcome.expertLoads, loss: outcome.loss) }

        // One reduction tells the slowest rank's time, and whether any rank heard that the run was started again.
        let isSuperseded = control.isSuperseded
        var largest = [measurement.seconds, isSuperseded ? 1 : 0]
        var span = largest.mutableSpan
        try communicator.allReduce(&span, .maximum)
        let stepSeconds = largest[0]
        if largest[1] > 0 { try communicator.agree { if isSuperseded { throw control.supersededError } } }
        let residentBytes = ResidentMemory.bytes()
        let metrics = StepMetrics(
            step: step + 1, loss: outcome.loss, auxiliaryLoss: outcome.auxiliaryLoss,
            gradientNorm: outcome.gradientNorm, learningRate: options.schedule.rate(at: step),
            tokensPerSecond: Double(options.batchSize * options.sequenceLength) / stepSeconds,
            stepSeconds: stepSeconds, planRevision: planRevision, expertLoad: outcome.expertLoads,
            validationLoss: validationLoss,
            phaseSeconds: Dictionary(uniqueKeysWithValues: measurement.phases.map { ($0.key.rawValue, $0.value) }),
            bytesSent: measurement.bytesSent, residentBytes: residentBytes, skippedSteps: skippedSteps)
        if options.metrics != nil { try communicator.agree { try file?.append(metrics) } }
        display?.show(metrics)
        if isLast || (step + 1) % options.reportInterval == 0 {
            sample.residentBytes = residentBytes
            control.report(sample)
            for group in experts { group.collectPerformance(sample, rank: communicator.rank) }
            sample = PerformanceSample(firstStep: step + 2, planRevision: planRevision)
        }
    }
}
