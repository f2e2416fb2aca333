import ExpertParallelism
import ExpertPlacement

/// The names given as `--allocator` and `--dispatcher`.
enum PlacementChoice {
    /// - Throws: `WorkerError` that lists the known names.
    static func validate(allocator: String, dispatcher: String) throws(WorkerError) {
        do {
            _ = try Allocators.make(named: allocator)
        } catch {
            throw .usage("--allocator: \(error)")
        }
        do {
            _ = try TokenDispatchers.make(named: dispatcher, seed: 0)
        } catch {
            throw .usage("--dispatcher: \(error)")
        }
    }

    /// The allocator's first plan for this model and world.
    /// - Throws: `WorkerError` when the allocator does not fit them.
    static func firstPlan(
        allocator name: String, model: ExpertModel, cluster: Cluster
    ) throws(WorkerError) -> PlacementPlan {
        do {
            var allocator = try Allocators.make(named: name)
            let first = try allocator.allocateExperts(current: nil, model: model, cluster: cluster, step: 0)
            guard var plan = first else { throw PlacementError.unsuitableAllocator("it made no plan") }
            try PlanMemory.check(plan, model: model, cluster: cluster)
            plan.revision = 1
            return plan
        } catch let error as PlacementError {
            throw .usage("--allocator \(name): \(error)")
        } catch {
            throw .failed("--allocator \(name): \(error)")
        }
    }
}
