import ExpertParallelism
import ExpertPlacement
import Foundation
import Layers
import MessagePassing
import Mixtral
import Testing
import WorkerRuntime

@Suite struct TrainerTests {
    @Test func lossFalls() throws {
        let lines = try TrainingFixture().train(steps: 60)
        #expect(lines.map(\.step) == Array(1...60))
        let (first, last) = (try #require(lines.first?.loss), try #require(lines.last?.loss))
        #expect(abs(first - log(Double(TrainingFixture.vocabularySize))) < 0.5)
        #expect(last < 0.7 * first, "from \(first) to \(last)")
    }

    /// Placement and world size must not show in the results.
    @Test(arguments: [1, 2, 3], ["tensor-parallel", "expert-parallel", "replicated", "dp=1,tp=1"])
    func curveIsThatOfOneProcess(worldSize: Int, allocator: String) throws {
        let fixture = try TrainingFixture()
        let reference = try fixture.train()
        let lines = try fixture.train(worldSize: worldSize) {
            $0.allocator = allocator
            $0.evaluationInterval = 5
        }
        #expect(lines.count == reference.count)
        for (line, reference) in zip(lines, reference) {
            #expect(abs(line.loss - reference.loss) < 1e-3, "step \(line.step)")
            #expect(abs(line.auxiliaryLoss - reference.auxiliaryLoss) < 1e-2, "step \(line.step)")
            #expect(line.planRevision == 1)
            // 6 sequences of 8 tokens, each to 2 experts.
            #expect(line.expertLoad.map { $0.reduce(0, +) } == [96, 96])
        }
        #expect(abs(lines[0].gradientNorm - reference[0].gradientNorm) < 1e-5 * reference[0].gradientNorm)
        #expect(lines.filter { $0.validationLoss != nil }.map(\.step) == [5, 10, 12])
        let validation = try #require(lines.last?.validationLoss)
        #expect(try abs(validation - #require(reference.last?.validationLoss)) < 1e-3)
    }

    /// What travels while ranks compute must not show in the results, not in a bit.
    @Test(arguments: ["tensor-parallel", "expert-parallel", "replicated"], OwnershipPolicy.allCases)
    func overlapChangesNothing(allocator: String, ownership: OwnershipPolicy) throws {
        let fixture = try TrainingFixture()
        func train(_ overlap: Overlap) throws -> [StepMetrics] {
            try fixture.train(worldSize: 3, nodes: [0, 0, 1]) {
                $0.allocator = allocator
                $0.optimizerPlacement = ownership
                $0.microBatches = 2
                $0.evaluationInterval = 4
                $0.overlap = overlap
            }
        }
        let apart = try train([])
        let together = try train(.all)
        #expect(together.map(\.loss) == apart.map(\.loss))
        #expect(together.map(\.gradientNorm) == apart.map(\.gradientNorm))
        #expect(together.map(\.validationLoss) == apart.map(\.validationLoss))
    }

    /// Nor what backward computes again. Loads and samples count each token once.
    @Test(arguments: Recomputation.allCases.dropFirst(), [1, 3])
    func recomputationChangesNothing(recomputation: Recomputation, worldSize: Int) throws {
        let fixture = try TrainingFixture()
        func train(_ recomputation: Recomputation) throws -> [StepMetrics] {
            try fixture.train(worldSize: worldSize, nodes: Array([0, 0, 1].prefix(worldSize))) {
                $0.allocator = "replicated"
                $0.microBatches = 2
                $0.evaluationInterval = 4
                $0.recomputation = recomputation
            }
        }
        let kept = try train(.none)
        let again = try train(recomputation)
        #expect(again.map(\.loss) == kept.map(\.loss))
        #expect(again.map(\.gradientNorm) == kept.map(\.gradientNorm))
        #expect(again.map(\.validationLoss) == kept.map(\.validationLoss))
        #expect(again.map(\.expertLoad) == kept.map(\.expertLoad))
    }

    /// Nor on which mesh attention is.
    @Test(arguments: [(1, 2), (2, 2), (1, 3), (1, 4), (3, 1), (2, 1)])
    func curveOnAMeshIsThatOfOneProcess(dataParallel: Int, tensorParallel: Int) throws {
        let fixture = try TrainingFixture()
        for microBatches in [1, 3] {
            func train(worldSize: Int, _ change: (inout TrainingOptions) -> Void = { _ in }) throws -> [StepMetrics] {
                try fixture.train(worldSize: worldSize) {
                    $0.microBatches = microBatches
                    $0.batchSize = 9
                    $0.evaluationInterval = 5
                    change(&$0)
                }
            }
            let reference = try train(worldSize: 1)
            let lines = try train(worldSize: dataParallel * tensorParallel) {
                $0.allocator = "expert-parallel"
                $0.dataParallel = dataParallel
                $0.tensorParallel = tensorParallel
            }
            #expect(lines.count == reference.count)
            for (line, reference) in zip(lines, reference) {
                #expect(abs(line.loss - reference.loss) < 1e-3, "step \(line.step)")
                #expect(line.expertLoad.map { $0.reduce(0, +) } == [144, 144])
                if let loss = line.validationLoss {
                    #expect(try abs(loss - #require(reference.validationLoss)) < 1e-3, "step \(line.step)")
                }
            }
        }
    }

    @Test(arguments: [1, 2]) func microBatchesGiveTheSameGradient(worldSize: Int) throws {
        let fixture = try TrainingFixture()
        // The auxiliary loss of micro-batches is another one: it is averaged, and not linear in the batch.
        let whole = try fixture.train(worldSize: worldSize) { $0.auxiliaryLoss = 0 }
        let parts = try fixture.train(worldSize: worldSize) {
            $0.auxiliaryLoss = 0
            $0.microBatches = 3
        }
        for (whole, parts) in zip(whole, parts) {
            #expect(abs(whole.loss - parts.loss) < 1e-3, "step \(whole.step)")
            #expect(abs(whole.gradientNorm - parts.gradientNorm) < 1e-2 * whole.gradientNorm, "step \(whole.step)")
        }
    }

    @Test func auxiliaryLossOfMicroBatchesIsTheirMean() throws {
        let fixture = try TrainingFixture()
        // With one step nothing but the first batch counts; sequential order makes micro-batches smaller batches.
        let parts = try fixture.train(steps: 1) {
            $0.dataOrder = .sequential
            $0.microBatches = 3
        }
        let batches = try fixture.train(steps: 3) {
            $0.dataOrder = .sequential
            $0.batchSize = 2
            $0.schedule.learningRate = 0
        }
        let mean = batches.map(\.auxiliaryLoss).reduce(0, +) / 3
        #expect(try abs(#require(parts.first?.auxiliaryLoss) - mean) < 1e-5)
    }

    @Test func validationReadsTheWholeSplitInOrder() throws {
        // 100 tokens are 12 sequences of 8: batches of 5, 5 and 2, the last too small for 3 ranks.
        let fixture = try TrainingFixture()
        func loss(worldSize: Int, batchSize: Int) throws -> Double {
            let lines = try fixture.train(worldSize: worldSize, steps: 1) { options in
                options.batchSize = batchSize
                options.schedule.learningRate = 0
            }
            return try #require(lines.last?.validationLoss)
        }
        let whole = try loss(worldSize: 1, batchSize: 12)
        for worldSize in 1...3 {
            let parts = try loss(worldSize: worldSize, batchSize: 5)
            #expect(abs(parts - whole) < 1e-5, "\(worldSize) ranks: \(parts), at once \(whole)")
        }
    }

    @Test func savedWeightsContinueTheRun() throws {
        let fixture = try TrainingFixture()
        let checkpoints = fixture.path("checkpoints")
        let lines = try fixture.train(worldSize: 2, steps: 20) { $0.checkpointDirectory = checkpoints }
        let saved = checkpoints + "/step-20"
        let again = try fixture.train(worldSize: 3, steps: 1) {
            $0.modelConfiguration = nil
            $0.model = saved
            $0.schedule.learningRate = 0
        }
        #expect(try abs(#require(again.last?.validationLoss) - #require(lines.last?.validationLoss)) < 1e-4)
    }

    @Test func warmupAndScheduleShowInTheMetrics() throws {
        let lines = try TrainingFixture().train(steps: 4) { options in
            options.schedule = LearningRateSchedule(
                shape: .cosine, learningRate: 1e-3, minimum: 1e-4, warmupSteps: 1, steps: 4)
        }
        for (index, line) in lines.enumerated() {
            let expected = [0.5e-3, 1e-3, 0.775e-3, 0.325e-3][index]
            #expect(abs(line.learningRate - expected) < 1e-12, "step \(line.step)")
        }
    }
}
