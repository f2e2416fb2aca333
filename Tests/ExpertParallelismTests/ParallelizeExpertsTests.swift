import ExpertParallelism
import ExpertPlacement
import Layers
import Logging
import MessagePassing
import Mixtral
import PlacementInvariance
import Synchronization
import Testing

@Suite struct ParallelizeExpertsTests {
    private static let pattern = #"model\.layers\.\d+\.block_sparse_moe\.experts"#

    private func model(layers: Int = 3) throws -> MixtralModel {
        MixtralModel(
            configuration: try MixtralConfiguration(
                vocabularySize: 11, hiddenSize: 8, intermediateSize: 6, layers: layers, heads: 2, experts: 4,
                maximumPositions: 8))
    }

    private func configuration(
        _ communicator: any Communicator = ThreadCommunicator(), layers: Int = 3,
        experts: ParallelConfiguration.ExpertCount = .uniform(4), plan: PlacementPlan? = nil,
        logger: Logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
    ) -> ParallelConfiguration {
        ParallelConfiguration(
            layers: layers, expertsPerLayer: experts, context: ExpertParallelContext(communicator: communicator),
            plan: plan, logger: logger)
    }

    private func parallelize(
        _ model: any Module, _ patterns: [String] = [pattern], _ configuration: ParallelConfiguration
    ) throws -> PlacementPlan {
        try parallelizeExperts(
            in: model, matching: patterns, allocator: StaticAllocator(.tensorParallel),
            dispatcher: RandomDispatcher(seed: 1), configuration: configuration)
    }

    private func groups(_ model: any Module) -> [ParallelExperts] {
        model.namedModules().compactMap { $0.module as? ParallelExperts }
    }

    @Test func replacesEveryGroupThatMatches() throws {
        let model = try model()
        let plan = try parallelize(model, [Self.pattern], configuration())
        #expect(groups(model).map(\.layer) == [0, 1, 2])
        #expect(groups(model).map(\.placement) == plan.layers)
        #expect(plan.worldSize == 1)
    }

    @Test func takesSeveralPatterns() throws {
        let model = try model()
        let patterns = [#"model\.layers\.[01]\..*\.experts"#, #"model\.layers\.2\..*\.experts"#]
        _ = try parallelize(model, patterns, configuration())
        #expect(groups(model).count == 3)
    }

    @Test func followsThePlanThatIsGiven() throws {
        let model = try model()
        let experts = try (0..<4).map { _ in
            try ExpertPlacement(width: 6, mesh: DeviceMesh(dataParallel: 1, tensorParallel: 1, ranks: [0]))
        }
        let given = try PlacementPlan(
            revision: 7, worldSize: 1, layers: (0..<3).map { _ in LayerPlacement(experts: experts) })
        #expect(try parallelize(model, [Self.pattern], configuration(plan: given)) == given)
        #expect(groups(model).map(\.planRevision) == [7, 7, 7])
        // The plan in force, not the allocator's.
        #expect(try parallelize(model, [Self.pattern], configuration()) == given)
    }

    @Test func weightsOfTheModelAreKept() throws {
        let seed: UInt64 = 3
        let before = MemorySink()
        let local = try model()
        try local.loadWeights(from: RandomWeights(seed: seed, standardDeviation: 1))
        try local.storeWeights(to: before)
        for worldSize in 1...4 {
            let stored = try ThreadCommunicator.run(worldSize: worldSize) { group in
                let model = try model()
                try model.loadWeights(from: RandomWeights(seed: seed, standardDeviation: 1))
                _ = try parallelize(model, [Self.pattern], configuration(group))
                let sink = MemorySink()
                try model.storeWeights(to: sink)
                return sink.tensors
            }
            #expect(stored[0] == before.tensors)
            // Experts are whole on rank 0 alone.
            for tensors in stored.dropFirst() {
                #expect(tensors == before.tensors.filter { !$0.key.contains("experts") })
            }
        }
    }

    @Test func namesAndShapesOfWeightsStayTheSame() throws {
        let (local, parallel) = (try model(), try model())
        _ = try parallelize(parallel, [Self.pattern], configuration())
        func listed(_ model: MixtralModel) -> [String] {
            model.namedWeights().map { "\($0.name) \($0.shape)" }.sorted()
        }
        #expect(listed(local) == listed(parallel))
    }

    @Test func loadingAfterwardsGivesTheSameWeights() throws {
        let source = RandomWeights(seed: 8, standardDeviation: 1)
        let local = try model()
        try local.loadWeights(from: source)
        let before = MemorySink()
        try local.storeWeights(to: before)
        let stored = try ThreadCommunicator.run(worldSize: 3) { group in
            let model = try model()
            _ = try parallelize(model, [Self.pattern], configuration(group))
            try model.loadWeights(from: source)
            let sink = MemorySink()
            try model.storeWeights(to: sink)
            return sink.tensors
        }
        #expect(stored[0] == before.tensors)
    }

    @Test func twiceWarnsAndChangesNothing() throws {
        let model = try model()
        let plan = try parallelize(model, [Self.pattern], configuration())
        let before = groups(model)
        let log = WarningLog()
        let again = try parallelizeExperts(
            in: model, matching: Self.pattern, allocator: StaticAllocator(.replicated),
            dispatcher: LocalFirstDispatcher(seed: 2),
            configuration: configuration(logger: Logger(label: "test", factory: { _ in log })))
        #expect(again == plan)
        #expect(zip(groups(model), before).allSatisfy { $0 === $1 })
        #expect(log.messages.count == 1)
        #expect(log.messages.first?.contains("parallelised already") == true)
    }

    @Test func theRestOfAPartlyParallelisedModel() throws {
        let stored = MemorySink()
        let untouched = try model()
        try untouched.loadWeights(from: RandomWeights(seed: 2, standardDeviation: 1))
        try untouched.storeWeights(to: stored)

        let model = try model()
        try model.loadWeights(from: RandomWeights(seed: 2, standardDeviation: 1))
        var configuration = configuration(layers: 1)
        _ = try parallelize(model, [#"model\.layers\.1\..*\.experts"#], configuration)
        let first = groups(model)[0]

        let log = WarningLog()
        configuration.layers = 3
        configuration.logger = Logger(label: "test", factory: { _ in log })
        let plan = try parallelize(model, [Self.pattern], configuration)
        #expect(groups(model).count == 3)
        #expect(groups(model)[1] === first)
        #expect(groups(model).map(\.placement) == plan.layers)
        #expect(log.messages.first?.contains("model.layers.1.block_sparse_moe.experts") == true)
        let after = MemorySink()
        try model.storeWeights(to: after)
        #expect(after.tensors == stored.tensors)
    }

    @Test func theRestNeedsTheSameContextAndPlaces() throws {
        let errors = try ThreadCommunicator.run(worldSize: 2) { group in
            let model = try model()
            var configuration = configuration(group, layers: 1)
            _ = try parallelize(model, [#"model\.layers\.0\..*\.experts"#], configuration)
            func error(_ configuration: ParallelConfiguration) -> ParallelizationError? {
                do {
                    _ = try parallelize(model, [Self.pattern], configuration)
                    return nil
                } catch {
                    return error as? ParallelizationError
                }
            }
            configuration.layers = 3
            configuration.plan = try StaticAllocator(.replicated).allocateExperts(
                current: nil, model: ExpertModel(hiddenSize: 8, layers: [[6, 6, 6, 6], [6, 6, 6, 6], [6, 6, 6, 6]]),
                cluster: Cluster(worldSize: 2), step: 0)
            return [error(self.configuration(group)), error(configuration)]
        }
        let path = "model.layers.0.block_sparse_moe.experts"
        for found in errors { #expect(found == [.otherContext(path: path), .placedOtherwise(path: path)]) }
    }

    @Test func aPatternThatMatchesNothingNamesWhatThereIs() throws {
        let model = try model()
        let paths = (0..<3).map { "model.layers.\($0).block_sparse_moe.experts" }
        let error = ParallelizationError.noMatch(patterns: [#"layers\.\d+\.moe"#], groups: paths)
        #expect(throws: error) { _ = try parallelize(model, [#"layers\.\d+\.moe"#], configuration()) }
        #expect("\(error)".contains("model.layers.2.block_sparse_moe.experts"))
        #expect("\(error)".contains(#""layers\.\d+\.moe""#))
        // Among several patterns too.
        #expect(throws: error) { _ = try parallelize(model, [Self.pattern, #"layers\.\d+\.moe"#], configuration()) }
        #expect(groups(model).isEmpty)
        #expect(throws: ParallelizationError.noMatch(patterns: [], groups: paths)) {
            _ = try parallelize(model, [], configuration())
        }
    }

    @Test func aPatternForOtherModulesIsRefused() throws {
        let error = #expect(throws: ParallelizationError.self) {
            _ = try parallelize(try model(), [#"model\.layers\.\d+\.block_sparse_moe"#], configuration())
        }
        #expect(error.map { "\($0)" }?.contains("is a SparseMoEBlock, not a group of experts") == true)
    }

    @Test func aPatternThatIsNoExpressionIsRefused() throws {
        let error = #expect(throws: ParallelizationError.self) {
            _ = try parallelize(try model(), ["model.(layers"], configuration())
        }
        guard case .invalidPattern("model.(layers", _) = error else {
            Issue.record("found \(String(describing: error))")
            return
        }
    }

    @Test func countsThatDisagreeNameBoth() throws {
        let model = try model()
        let path = "model.layers.0.block_sparse_moe.experts"
        #expect(throws: ParallelizationError.expertCount(path: path, expected: 5, found: 4)) {
            _ = try parallelize(model, [Self.pattern], configuration(experts: .uniform(5)))
        }
        let second = "model.layers.1.block_sparse_moe.experts"
        #expect(throws: ParallelizationError.expertCount(path: second, expected: 3, found: 4)) {
            _ = try parallelize(model, [Self.pattern], configuration(experts: .perLayer([4, 3, 4])))
        }
        let layers = #expect(throws: ParallelizationError.self) {
            _ = try parallelize(model, [Self.pattern], configuration(layers: 2))
        }
        #expect(layers.map { "\($0)" }?.contains("2 layers of experts, the pattern matches 3") == true)
        let counts = #expect(throws: ParallelizationError.self) {
            _ = try parallelize(model, [Self.pattern], configuration(experts: .perLayer([4, 4])))
        }
        #expect(counts.map { "\($0)" }?.contains("for 2 layers, the pattern matches 3") == true)
        #expect(groups(model).isEmpty)
    }

    @Test func aPlanForAnotherModelOrWorldIsRefused() throws {
        let model = try model()
        let allocator = StaticAllocator(.tensorParallel)
        let other = ExpertModel(hiddenSize: 8, layers: [[6, 6, 6, 6], [6, 6, 6, 6], [6, 6, 6, 5]])
        let plan = try allocator.allocateExperts(
            current: nil, model: other, cluster: Cluster(worldSize: 1), step: 0)
        #expect(throws: PlacementError.self) {
            _ = try parallelize(model, [Self.pattern], configuration(plan: plan))
        }
        let fitting = ExpertModel(hiddenSize: 8, layers: [[6, 6, 6, 6], [6, 6, 6, 6], [6, 6, 6, 6]])
        let larger = try allocator.allocateExperts(
            current: nil, model: fitting, cluster: Cluster(worldSize: 2), step: 0)
        #expect(throws: PlacementError.self) {
            _ = try parallelize(model, [Self.pattern], configuration(plan: larger))
        }
    }

    @Test func anAllocatorWithoutAPlanIsRefused() throws {
        struct Undecided: ExpertsAllocator {
            func collectPerformance(_ sample: PerformanceSample, rank: Int) {}
            func allocateExperts(
                current: PlacementPlan?, model: ExpertModel, cluster: Cluster, step: Int
            ) -> PlacementPlan? { nil }
        }
        let model = try model()
        #expect(throws: ParallelizationError.noPlan) {
            _ = try parallelizeExperts(
                in: model, matching: Self.pattern, allocator: Undecided(), dispatcher: RandomDispatcher(seed: 1),
                configuration: configuration())
        }
    }
}

/// Keeps warnings.
private final class WarningLog: LogHandler {
    private let kept = Mutex([String]())
    var messages: [String] { kept.withLock { $0 } }

    func log(event: LogEvent) {
        if event.level == .warning { kept.withLock { $0.append("\(event.message)") } }
    }

    subscript(metadataKey _: String) -> Logger.Metadata.Value? {
        get { nil }
        set {}
    }
    var metadata: Logger.Metadata {
        get { [:] }
        set {}
    }
    var logLevel: Logger.Level {
        get { .info }
        set {}
    }
}
