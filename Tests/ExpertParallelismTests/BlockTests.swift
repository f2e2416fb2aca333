import ExpertParallelism
import ExpertPlacement
import MessagePassing
import PlacementInvariance
import TestSupport
import Testing

/// Experts of different widths, and what a pass leaves behind.
@Suite struct BlockTests {
    @Test(arguments: 1...4) func expertsOfDifferentWidths(worldSize: Int) throws {
        let block = BlockCase()
        let seed = TestRuns.seed("blocks on \(worldSize) ranks")
        var plans = RandomPlan(seed: seed)
        let expected = try block.run(
            on: ThreadCommunicator(), plan: nil, dispatcher: RandomDispatcher(seed: seed))
        for round in 0..<30 {
            let plan = try plans.plan(for: block.model, worldSize: worldSize)
            let outcomes = try ThreadCommunicator.run(worldSize: worldSize) {
                try block.run(on: $0, plan: plan, dispatcher: RandomDispatcher(seed: seed))
            }
            let situation = "round \(round), seed \(seed), plan \(plan.layers[0].experts.map(\.mesh))"
            #expect(relativeDifference(outcomes.flatMap(\.outputs), expected.outputs) < 1e-5, "\(situation)")
            #expect(relativeDifference(outcomes.flatMap(\.inference), expected.outputs) < 1e-5, "\(situation)")
            #expect(
                relativeDifference(outcomes.flatMap(\.inputGradients), expected.inputGradients) < 1e-5, "\(situation)")
            #expect(outcomes[0].gradients.keys.sorted() == expected.gradients.keys.sorted())
            for (name, gradient) in expected.gradients {
                #expect(relativeDifference(outcomes[0].gradients[name] ?? [], gradient) < 1e-5, "\(name), \(situation)")
            }
        }
    }

    @Test(arguments: 1...4) func eachParameterCountsOnceInTheNorm(worldSize: Int) throws {
        let block = BlockCase()
        let seed = TestRuns.seed("norms on \(worldSize) ranks")
        var plans = RandomPlan(seed: seed)
        for _ in 0..<10 {
            let plan = try plans.plan(for: block.model, worldSize: worldSize)
            let outcomes = try ThreadCommunicator.run(worldSize: worldSize) {
                try block.run(on: $0, plan: plan, dispatcher: LocalFirstDispatcher(seed: seed))
            }
            let squares = outcomes[0].gradients.values.joined().reduce(0.0) { $0 + Double($1) * Double($1) }
            #expect(Set(outcomes.map(\.gradientNorm)).count == 1)
            #expect(abs(outcomes[0].gradientNorm - squares.squareRoot()) < 1e-6 * squares.squareRoot())
        }
    }

    @Test(arguments: 1...4) func bytesToOtherRanksAreCounted(worldSize: Int) throws {
        let block = BlockCase()
        let seed = TestRuns.seed("bytes on \(worldSize) ranks")
        var plans = RandomPlan(seed: seed)
        for _ in 0..<10 {
            let plan = try plans.plan(for: block.model, worldSize: worldSize)
            let outcomes = try ThreadCommunicator.run(worldSize: worldSize) {
                try block.run(on: CountingCommunicator($0), plan: plan, dispatcher: RandomDispatcher(seed: seed))
            }
            #expect(outcomes.map(\.bytesSent) == outcomes.map(\.communicatorBytes))
        }
    }

    @Test func oneRankSendsNothing() throws {
        let block = BlockCase()
        let plan = try PlacementPlan(
            worldSize: 1,
            layers: [
                LayerPlacement(
                    experts: block.widths.map {
                        try ExpertPlacement(
                            width: $0, mesh: DeviceMesh(dataParallel: 1, tensorParallel: 1, ranks: [0]))
                    })
            ])
        let outcome = try block.run(on: ThreadCommunicator(), plan: plan, dispatcher: RandomDispatcher(seed: 1))
        #expect(outcome.bytesSent == 0)
    }
}
