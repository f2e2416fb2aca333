import CommunicatorConformance
import ExpertParallelism
import ExpertPlacement
import Layers
import MessagePassing
import Mixtral
import PlacementInvariance
import Tensors
import Testing

/// An error on one rank ends the others.
@Suite struct FailureTests {
    private struct Broken: Error, Equatable {}

    /// Weights that cannot be read on one rank.
    private struct BrokenWeights: WeightSource {
        func load(
            _ name: String, shape: [Int], rows: Range<Int>, columns: Range<Int>, into destination: Tensor
        ) throws {
            throw Broken()
        }
    }

    @Test(arguments: 0..<3) func weightsThatCannotBeReadOnOneRank(failing: Int) throws {
        let block = BlockCase()
        #expect(throws: Broken()) {
            _ = try ThreadCommunicator.run(worldSize: 3) { group in
                let context = ExpertParallelContext(communicator: group)
                let module = block.block()
                try parallelizeExperts(
                    in: module, matching: "experts", allocator: StaticAllocator(.replicated),
                    dispatcher: RandomDispatcher(seed: 1),
                    configuration: ParallelConfiguration(
                        layers: 1, expertsPerLayer: .uniform(block.widths.count), context: context))
                let weights: any WeightSource = group.rank == failing ? BrokenWeights() : block.weights
                try module.loadWeights(from: weights)
                _ = try module.forward(Tensor(rows: 4, columns: 8, repeating: 1), savingForBackward: false)
            }
        }
    }

    /// A rank that fails in the middle of a step, at each of its exchanges.
    @Test func anExchangeThatFailsOnOneRank() throws {
        let block = BlockCase()
        var plans = RandomPlan(seed: 6)
        let plan = try plans.plan(for: block.model, worldSize: 3)
        var failures = 0
        for exchange in 0..<200 {
            do {
                _ = try ThreadCommunicator.run(worldSize: 3) { group in
                    let communicator: any Communicator =
                        group.rank == 1 ? FailingCommunicator(group, atExchange: exchange, error: Broken()) : group
                    return try block.run(on: communicator, plan: plan, dispatcher: RandomDispatcher(seed: 1))
                }
                break
            } catch is Broken {
                failures += 1
            }
        }
        #expect((8..<200).contains(failures), "a step has \(failures) exchanges")
    }

    @Test func aPlanThatDoesNotFitEndsAllRanks() throws {
        let training = InvarianceCase()
        let plan = try training.plan(allocator: "replicated", worldSize: 2)
        #expect(throws: PlacementError.self) {
            _ = try ThreadCommunicator.run(worldSize: 3) {
                try training.run(on: $0, plan: plan, dispatcher: RandomDispatcher(seed: 1))
            }
        }
    }
}
