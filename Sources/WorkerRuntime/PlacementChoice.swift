import Checkpoints
import ExpertParallelism
import ExpertPlacement

/// The names given as `--allocator` and `--dispatcher`.
enum PlacementChoice {
    /// - Parameters:
    ///   - dispatcher: nil: the one that suits the allocator.
    ///   - hasCoordinator: whether a coordinator decides, which may ask a program of its own.
    /// - Throws: `WorkerError` that lists the known names.
    static func validate(allocator: String, dispatcher: String?, hasCoordinator: Bool) throws(WorkerError) {
        do {
            if isProgram(allocator) {
                guard hasCoordinator else {
                    throw WorkerError.usage(
                        "--allocator \(allocator): only a coordinator runs programs; name it with --coordinator, or choose another "
                            + "allocator")
                }
            } else {
                _ = try Allocators.make(named: allocator)
            }
        } catch let error as WorkerError {
            throw error
        } catch {
            throw .usage("--allocator: \(error)")
        }
        guard let dispatcher else { return }
        do {
            _ = try TokenDispatchers.make(named: dispatcher, seed: 0)
        } catch {
            throw .usage("--dispatcher: \(error)")
        }
    }

    /// Whether the name is of a program that the coordinator asks: `exec:ALIAS`.
    static func isProgram(_ allocator: String) -> Bool { allocator.hasPrefix(Allocators.programPrefix) }

    /// Whether plans come from measurements; a placement by a fixed rule never changes by itself.
    static func isMeasured(_ allocator: String) -> Bool {
        isProgram(allocator) || !((try? Allocators.make(named: allocator)) is StaticAllocator)
    }

    /// The dispatcher for an allocator, unless one is named. Those that measure plan what fraction of an expert's tokens each
    /// replica gets, which is worth nothing unless the counts are met.
    static func dispatcher(for allocator: String) -> String {
        isMeasured(allocator) ? "weighted" : TokenDispatchers.defaultName
    }

    /// The plan that a run without a coordinator begins with, or goes on with.
    /// - Throws: `WorkerError` when there can be none.
    static func plan(
        replay: PlacementReplay?, after checkpoint: CheckpointManifest?, allocator: String, model: ExpertModel,
        cluster: Cluster
    ) throws -> PlacementPlan {
        if let replay { return try replay.firstPlan() }
        if let checkpoint {
            return try plan(after: checkpoint, allocator: allocator, model: model, cluster: cluster)
        }
        return try firstPlan(allocator: allocator, model: model, cluster: cluster)
    }

    /// The plan that a run without a coordinator goes on with: that of its checkpoint, when it fits this world and the
    /// allocator would not have another one by a rule; else the allocator's first, with a revision that no plan has had.
    static func plan(
        after checkpoint: CheckpointManifest, allocator: String, model: ExpertModel, cluster: Cluster
    ) throws -> PlacementPlan {
        var plan: PlacementPlan
        if keepsPlan(of: checkpoint, allocator: allocator),
            let earlier = try? checkpoint.plan.adapted(to: model, cluster: cluster)
        {
            plan = earlier
        } else {
            plan = try firstPlan(allocator: allocator, model: model, cluster: cluster)
            plan.revision = 0
        }
        if plan.revision == 0 { plan.revision = checkpoint.largestRevision + 1 }
        return plan
    }

    /// Whether the allocator goes on with another's plan, or one of its own: one by a rule has its own only.
    static func keepsPlan(of checkpoint: CheckpointManifest, allocator: String) -> Bool {
        isMeasured(allocator) || allocator == checkpoint.allocator
    }

    /// The allocator's first plan for this model and world.
    /// - Throws: `WorkerError` when the allocator does not fit them.
    static func firstPlan(
        allocator name: String, model: ExpertModel, cluster: Cluster
    ) throws(WorkerError) -> PlacementPlan {
        do {
            var allocator = try Allocators.makeFirst(named: name, worldSize: cluster.worldSize)
            let first = try PlanMemory.allocate(
                with: &allocator, current: nil, model: model, cluster: cluster, loads: nil, step: 0)
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
