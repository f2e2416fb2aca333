import Foundation
import Testing
import WorkerRuntime

/// Experts move while a job without a coordinator trains.
@Suite struct ReplacementTests {
    let fixture: TrainingFixture

    init() throws { fixture = try TrainingFixture() }

    /// Moving has a price, and this model is so small that nothing would pay it: here it costs nothing.
    private static let eager = "load-balanced:shapes=replicas,margin=0,minimum-gain=0,life=1000000"

    private func train(
        worldSize: Int, steps: Int = 200, _ change: (inout TrainingOptions) -> Void = { _ in }
    ) throws -> [StepMetrics] {
        try fixture.train(worldSize: worldSize, steps: steps) { options in
            options.allocator = Self.eager
            options.dispatcher = "weighted"
            options.reportInterval = 3
            options.auxiliaryLoss = 0
            change(&options)
        }
    }

    @Test(arguments: [2, 3]) func lossesAreThoseOfOneProcess(worldSize: Int) throws {
        // Steps are few, for differences between sums in another order grow, and long enough for the planner to have its turn.
        let (count, batchSize) = (60, 48)
        let steps = try train(worldSize: worldSize, steps: count) { $0.batchSize = batchSize }
        let reference = try fixture.train(worldSize: 1, steps: count) {
            $0.batchSize = batchSize
            $0.auxiliaryLoss = 0
        }
        let revisions = steps.map(\.planRevision)
        #expect(revisions.first == 1)
        #expect((revisions.last ?? 0) > 1, "nothing was placed anew")
        #expect(zip(revisions, revisions.dropFirst()).allSatisfy { $0 <= $1 })
        for (step, other) in zip(steps, reference) {
            #expect(abs(step.loss - other.loss) < 1e-3, "step \(step.step)")
        }
        // A new revision shows from the step whose layers were the last to switch.
        for (before, step) in zip(steps, steps.dropFirst()) where before.planRevision != step.planRevision {
            #expect(step.migrationSeconds != nil)
        }
    }

    @Test func aBudgetSpreadsThePlanOverSteps() throws {
        // Of one byte: each layer has a step for itself.
        let steps = try train(worldSize: 2) { $0.migrationBudgetBytes = 1 }
        // Some plan moves both layers: its first bytes go while the plan before is in force.
        let early = zip(steps, steps.dropFirst()).first { before, step in
            (step.migrationBytes ?? 0) > 0 && step.planRevision == before.planRevision
        }
        let begun = try #require(early?.1, "every plan came into force at once")
        let completed = try #require(steps.first { $0.planRevision > begun.planRevision })
        #expect(completed.step == begun.step + 1 && (completed.migrationBytes ?? 0) > 0)
    }

    /// Every row is computed once, by whichever ranks have its expert: the ranks' work adds up to the experts' loads.
    @Test func workOfTheRanksIsThatOfTheExperts() throws {
        for step in try train(worldSize: 2) {
            for (layer, loads) in step.expertLoad.enumerated() {
                #expect(step.ranks.rows[layer].reduce(0, +) == loads.reduce(0, +))
                #expect(step.ranks.work[layer].reduce(0, +) == 12 * loads.reduce(0, +))
            }
            #expect(step.ranks.expertSeconds.count == 2 && step.ranks.exchangeSeconds.count == 2)
        }
    }

    @Test func evenRoutingGivesEveryExpertAsMuch() throws {
        for step in try train(worldSize: 2, { $0.benchmarkEvenRouting = true }) {
            for loads in step.expertLoad { #expect(Set(loads).count == 1, "\(loads)") }
        }
    }

    @Test func aMemoryLimitThatHoldsNoPlanIsNamed() throws {
        let options = fixture.options(steps: 1)
        let failures = try outcomes(worldSize: 2) { communicator in
            var options = options
            options.memoryLimitBytes = 1000
            try Trainer(options: options, communicator: communicator, nodes: [0, 0]).run()
        }
        let reasons = failures.compactMap { failure -> String? in
            guard case .failure(let error as JobFailure) = failure else { return nil }
            return error.reason.map { "\($0)" }
        }
        #expect(reasons.count == 1)
        #expect(reasons.first?.contains("1000") == true, "\(reasons)")
    }
}
