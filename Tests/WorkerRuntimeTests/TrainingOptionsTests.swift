import Testing
import WorkerRuntime

@Suite struct TrainingOptionsTests {
    private func refusal(worldSize: Int = 2, _ change: (inout TrainingOptions) -> Void) -> WorkerError? {
        var options = TrainingOptions(
            data: "data", steps: 10, batchSize: 4, sequenceLength: 8,
            schedule: LearningRateSchedule(
                shape: .constant, learningRate: 1e-3, minimum: 0, warmupSteps: 0, steps: 10))
        options.modelConfiguration = "config.json"
        change(&options)
        do {
            try options.validate(worldSize: worldSize)
            return nil
        } catch {
            return error as? WorkerError
        }
    }

    @Test func goodOptionsPass() {
        #expect(refusal { _ in } == nil)
        #expect(refusal { $0.allocator = "dp=1,tp=2" } == nil)
        #expect(refusal { $0.coordinator = "[::1]:7700" } == nil)
        #expect(refusal { $0.epsilon = 1e-30 } == nil)
        #expect(refusal { ($0.schedule.shape, $0.schedule.minimum) = (.cosine, 1e-3) } == nil)
    }

    @Test func eachRefusalNamesTheFlag() {
        let cases: [(String, (inout TrainingOptions) -> Void)] = [
            ("--batch-size 1 in 1 micro-batches", { $0.batchSize = 1 }),
            ("--batch-size 4 in 4 micro-batches", { $0.microBatches = 4 }),
            ("--batch-size 4 must be a multiple of --micro-batches 3", { $0.microBatches = 3 }),
            ("--micro-batches must be at least 1", { $0.microBatches = 0 }),
            ("--threads must be at most 4096", { $0.threads = 4097 }),
            ("--steps must be at least 0", { $0.steps = -1 }),
            ("--sequence-length must be at least 1", { $0.sequenceLength = 0 }),
            ("smaller --batch-size", { $0.sequenceLength = 1 << 40 }),
            ("--steps 1099511627777 is too large", { $0.steps = 1 << 40 + 1 }),
            ("either --model DIR", { $0.model = "checkpoint" }),
            ("either --model DIR", { $0.modelConfiguration = nil }),
            ("unknown allocator \"best\"; known are tensor-parallel", { $0.allocator = "best" }),
            ("unknown allocator", { $0.allocator = "dp=0,tp=1" }),
            ("unknown dispatcher \"best\"; known are random", { $0.dispatcher = "best" }),
            ("--migration-budget must be at least 1 byte", { $0.migrationBudgetBytes = 0 }),
            ("--learning-rate must be", { $0.schedule.learningRate = .nan }),
            ("--learning-rate must be", { $0.schedule.learningRate = -1 }),
            ("add --learning-rate-schedule cosine", { $0.schedule.minimum = 1e-4 }),
            (
                "--minimum-learning-rate 5.0 is above --learning-rate 0.001",
                { ($0.schedule.shape, $0.schedule.minimum) = (.cosine, 5) }
            ),
            ("only a coordinator runs programs", { $0.allocator = "exec:mine" }),
            ("--beta1 must be", { $0.beta1 = 1 }),
            ("--epsilon must be between 1e-30 and 1.0, not 0.0", { $0.epsilon = 0 }),
            ("--epsilon must be between 1e-30 and 1.0, not 1e-46", { $0.epsilon = 1e-46 }),
            ("--gradient-clip must be", { $0.gradientClip = -1 }),
            ("--auxiliary-loss must be", { $0.auxiliaryLoss = .infinity }),
            ("--coordinator: \"here\" is no address", { $0.coordinator = "here" }),
            ("--run \"a b\"", { $0.run = "a b" }),
            ("--coordinator-timeout must be", { $0.coordinatorTimeoutSeconds = -1 }),
        ]
        for (text, change) in cases {
            let refusal = refusal(change)
            #expect(refusal?.code == .usage)
            #expect(refusal?.description.contains(text) == true, "\(text): \(refusal?.description ?? "taken")")
        }
    }
}
