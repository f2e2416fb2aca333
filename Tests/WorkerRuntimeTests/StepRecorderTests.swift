import ExpertParallelism
import ExpertPlacement
import Layers
import MessagePassing
import Mixtral
import Synchronization
import Testing
import WorkerRuntime

@Suite struct StepRecorderTests {
    /// Keeps the samples that all its copies got.
    private final class SampleLog: Sendable {
        let samples = Mutex([(rank: Int, sample: PerformanceSample)]())
    }

    private struct LoggingDispatcher: TokenDispatcher {
        let log: SampleLog
        func collectPerformance(_ sample: PerformanceSample, rank: Int) {
            log.samples.withLock { $0.append((rank, sample)) }
        }
        func chooseReplica(token: Int, expert: Int, placement: ExpertPlacement, origin: DispatchOrigin) -> Int { 0 }
    }

    /// What is measured reaches the dispatcher of each layer, with or without a coordinator.
    @Test func dispatchersGetTheSamples() throws {
        let fixture = try TrainingFixture()
        var options = fixture.options(steps: 19)
        options.reportInterval = 8
        let final = options
        let log = SampleLog()
        _ = try ThreadCommunicator.run(worldSize: 2) { communicator in
            let context = ExpertParallelContext(communicator: communicator)
            let model = MixtralModel(configuration: try TrainingFixture.configuration(layers: 3))
            try parallelizeExperts(
                in: model, matching: #"model\.layers\.\d+\.block_sparse_moe\.experts"#,
                allocator: StaticAllocator(.expertParallel), dispatcher: LoggingDispatcher(log: log),
                configuration: ParallelConfiguration(layers: 3, expertsPerLayer: .uniform(4), context: context))
            let control = try ControlPlane.open(
                options: final, model: ExpertModel(model.configuration), cluster: Cluster(nodes: [0, 0]),
                communicator: communicator)
            let recorder = StepRecorder(
                options: final, context: context, planRevision: 1, control: control,
                experts: model.namedModules().compactMap { $0.module as? ParallelExperts }, display: nil, file: nil)
            for step in 0..<19 {
                let outcome = recorder.time { TrainingStep.Outcome() }
                try recorder.record(outcome, step: step, validationLoss: nil, isLast: step == 18)
            }
        }
        let samples = log.samples.withLock { $0 }
        for rank in 0..<2 {
            // By interval, then layer.
            let steps = samples.filter { $0.rank == rank }.map { [$0.sample.firstStep, $0.sample.stepCount] }
            // In the first interval also after 2 and 4 steps.
            let intervals = [[1, 2], [3, 2], [5, 4], [9, 8], [17, 3]]
            #expect(steps == intervals.flatMap { [$0, $0, $0] })
        }
    }
}
