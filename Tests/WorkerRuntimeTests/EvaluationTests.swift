import ExpertParallelism
import ExpertPlacement
import Layers
import MessagePassing
import Synchronization
import Testing
import TokenData
import WorkerRuntime

/// The loss over the validation split.
@Suite struct EvaluationTests {
    private let fixture: TrainingFixture

    init() throws { fixture = try TrainingFixture() }

    /// Remembers how many of a rank's tokens were routed at once.
    private final class TokenCounter: TokenDispatcher {
        private let most = Mutex(0)
        var tokensAtOnce: Int { most.withLock { $0 } }

        func chooseReplica(token: Int, expert: Int, placement: ExpertPlacement, origin: DispatchOrigin) -> Int { 0 }

        func assignTask(_ routing: Routing, placement: LayerPlacement, origin: DispatchOrigin) -> [Int] {
            most.withLock { $0 = max($0, routing.tokenCount) }
            return [Int](repeating: 0, count: routing.count)
        }
    }

    private struct Outcome: Sendable {
        let loss: Double?
        let tokensAtOnce: Int
        /// How often it was asked whether to stop.
        let looks: Int
    }

    /// Reads the split, 12 sequences, in batches of 8.
    /// - Parameter stop: at which look a rank is asked to stop.
    private func outcomes(
        worldSize: Int, microBatches: Int, batchLimit: Int = 0, stop: (rank: Int, look: Int)? = nil
    ) throws -> [Outcome] {
        let path = fixture.path("val.bin")
        return try ThreadCommunicator.run(worldSize: worldSize) { communicator in
            let counter = TokenCounter()
            let (model, context, _) = try TrainingFixture.model(on: communicator, dispatcher: counter)
            let batches = try BatchSource(
                file: TokenFile(path: path, vocabularySize: TrainingFixture.vocabularySize),
                sequenceLength: TrainingFixture.sequenceLength, batchSize: 8, order: .sequential)
            let evaluation = Evaluation(
                model: model, context: context, batches: batches, batchLimit: batchLimit, microBatches: microBatches)
            var looks = 0
            let loss = try evaluation.loss {
                looks += 1
                return communicator.rank == stop?.rank && looks >= stop?.look ?? .max
            }
            return Outcome(loss: loss, tokensAtOnce: counter.tokensAtOnce, looks: looks)
        }
    }

    /// As many go through the model at once as in a training step, and the loss is the same.
    @Test(arguments: [1, 2], [0, 1]) func asManySequencesAtOnceAsInTraining(worldSize: Int, batchLimit: Int) throws {
        let whole = try outcomes(worldSize: worldSize, microBatches: 1, batchLimit: batchLimit)
        let parts = try outcomes(worldSize: worldSize, microBatches: 4, batchLimit: batchLimit)
        for (whole, parts) in zip(whole, parts) {
            #expect(whole.tokensAtOnce == 8 * TrainingFixture.sequenceLength / worldSize)
            #expect(parts.tokensAtOnce == 2 * TrainingFixture.sequenceLength / worldSize)
            // Limits count batches.
            #expect(whole.looks == (batchLimit == 1 ? 1 : 2))
            #expect(parts.looks == (batchLimit == 1 ? 4 : 6))
            #expect(try abs(#require(whole.loss) - #require(parts.loss)) < 1e-5)
        }
    }

    @Test func allRanksStopWhenOneIsAskedTo() throws {
        for rank in 0..<2 {
            let outcomes = try outcomes(worldSize: 2, microBatches: 4, stop: (rank: rank, look: 3))
            #expect(outcomes.map(\.loss) == [nil, nil])
            #expect(outcomes.map(\.looks) == [3, 3])
        }
    }

    /// There is no checkpoint that must not wait for it.
    @Test(arguments: [(0, true), (2, false)])
    func whoSavesNothingValidates(steps: Int, isSaved: Bool) throws {
        var options = fixture.options(steps: steps)
        options.evaluationInterval = 1
        options.checkpointDirectory = isSaved ? fixture.path("checkpoints") : nil
        let metrics = fixture.path("metrics.jsonl")
        options.metrics = metrics
        let final = options
        let requests = CheckpointRequests()
        requests.stop()
        let lines = Mutex([String]())
        let results = try ThreadCommunicator.run(worldSize: 2) { communicator -> Result<Void, any Error> in
            let display = ProgressDisplay(steps: steps, interval: 1, isTerminal: false) { line in
                lines.withLock { $0.append(line) }
            }
            return Result {
                try Trainer(
                    options: final, communicator: communicator, nodes: communicator.nodes(), display: display,
                    requests: requests
                ).run()
            }
        }
        let said = lines.withLock { $0 }
        #expect(!said.contains { $0.contains("no validation") }, "\(said)")
        if steps == 0 {
            for result in results { #expect(throws: Never.self) { try result.get() } }
            #expect(said.contains { $0.hasPrefix("validation loss ") }, "\(said)")
        } else {
            #expect(try fixture.lines(ofMetrics: metrics).map { $0.validationLoss != nil } == [true])
        }
    }
}
