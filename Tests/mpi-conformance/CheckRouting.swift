import CommunicatorConformance
import ExpertParallelism
import ExpertPlacement
import Layers
import MPIMessagePassing
import PlacementInvariance

/// Whatever the routing, steps over MPI are those of one process: what ranks add up to choose tokens, or to drop them, included.
func checkRouting(_ world: MPICommunicator, seed: UInt64) throws {
    var plans = RandomPlan(seed: seed)
    var cases = 0
    for variant in RoutingVariant.all {
        var training = variant.training
        training.microBatches = 2
        let reference = world.rank == 0 ? try training.reference() : nil
        for tensorParallel in [1, 2, 4] where world.size % tensorParallel == 0 {
            training.tensorParallel = tensorParallel
            for plan in [
                try training.plan(allocator: "expert-parallel", worldSize: world.size),
                try plans.plan(for: training.expertModel, worldSize: world.size),
            ] {
                let record = try training.run(
                    on: world, plan: plan, dispatcher: WeightedDispatcher(seed: seed))
                do {
                    if let reference { try record.check(against: reference, tolerance: 1e-5) }
                } catch {
                    throw ConformanceFailure(
                        description: "\(variant), groups of \(tensorParallel) (seed \(seed)): \(error)")
                }
                cases += 1
            }
        }
    }
    if world.rank == 0 { print("passed: \(cases) ways of routing on \(world.size) ranks") }
}
