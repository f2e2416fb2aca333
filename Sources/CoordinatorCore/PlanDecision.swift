import ControlProtocol
import ExpertPlacement

/// Which plan a run starts with.
enum PlanDecision {
    /// The active one.
    case keep(PlacementPlan)
    /// Another one, which gets a revision of its own, and why.
    case activate(PlacementPlan, why: String)

    /// - Parameters:
    ///   - known: the run as it was before; nil: it is new.
    ///   - programs: allocators that are programs.
    /// - Throws: `unknown_allocator`, `unsuitable_plan`, `limit_exceeded`.
    static func make(
        for request: RegisterRun, known: RunState?, limits: Limits, programs: Set<String>
    ) throws(ControlError) -> PlanDecision {
        guard let known else {
            if let checkpoint = request.checkpoint, let earlier = checkpoint.plan,
                let plan = try? earlier.withoutSwitches.adapted(to: request.model, cluster: Cluster(request))
            {
                return .activate(plan, why: "first registration, as in the checkpoint after step \(checkpoint.step)")
            }
            let plan = try newPlan(for: request, limits: limits, programs: programs)
            return .activate(plan, why: "first registration, \(origin(request))")
        }
        var reasons = [String]()
        if request.worldSize != known.plan.worldSize {
            reasons.append("the world size went from \(known.plan.worldSize) to \(request.worldSize)")
        }
        if request.model != known.model { reasons.append("the model is another one") }
        if request.allocator != known.allocator {
            reasons.append("the allocator went from \(known.allocator) to \(request.allocator)")
        }
        if reasons.isEmpty,
            (try? PlanMemory.check(known.plan, model: request.model, cluster: Cluster(request))) == nil
        {
            reasons.append("the active plan does not fit the ranks' memory any more")
        }
        if !reasons.isEmpty {
            let why = reasons.joined(separator: ", ") + "; " + origin(request)
            return .activate(try newPlan(for: request, limits: limits, programs: programs), why: why)
        }
        if request.nodes != known.plan.nodes {
            // The placement itself was learned, and holds wherever the ranks run.
            let plan = try ControlError.mapping { () throws(PlacementError) in
                try PlacementPlan(
                    worldSize: request.worldSize, nodes: request.nodes, layers: known.plan.withoutSwitches.layers)
            }
            return .activate(plan, why: "the ranks are on other nodes; meshes as before")
        }
        return .keep(known.plan)
    }

    private static func origin(_ request: RegisterRun) -> String {
        request.plan == nil
            ? "placed by allocator \(request.allocator)" : "placed by the worker's allocator \(request.allocator)"
    }

    private static func newPlan(
        for request: RegisterRun, limits: Limits, programs: Set<String>
    ) throws(ControlError) -> PlacementPlan {
        try ControlError.mapping { () throws(any Error) in
            let cluster = Cluster(request)
            if let plan = request.plan { return try plan.adapted(to: request.model, cluster: cluster) }
            if request.allocator.hasPrefix(Allocators.programPrefix), !programs.contains(request.allocator) {
                throw PlacementError.unknownProgram(request.allocator, known: Array(programs))
            }
            var allocator: any ExpertsAllocator =
                programs.contains(request.allocator)
                ? StaticAllocator(.expertParallel)
                : try Allocators.makeFirst(named: request.allocator, worldSize: request.worldSize)
            guard
                let plan = try PlanMemory.allocate(
                    with: &allocator, current: nil, model: request.model, cluster: cluster, loads: nil, step: 0)
            else {
                throw PlacementError.unsuitableAllocator("allocator \(request.allocator) made no plan")
            }
            try plan.validate(for: request.model, worldSize: request.worldSize)
            let ranks = plan.listedRanks
            guard ranks <= limits.planRanks else {
                throw ControlError(
                    .limitExceeded,
                    "the plan of allocator \(request.allocator) lists \(ranks) ranks, over the limit of \(limits.planRanks) (plan "
                        + "ranks); choose one with smaller meshes")
            }
            try PlanMemory.check(plan, model: request.model, cluster: cluster)
            return plan
        }
    }
}

extension Cluster {
    /// The ranks that a registration tells of.
    package init(_ request: RegisterRun) {
        self.init(
            nodes: request.nodes, memoryLimits: request.memoryLimits, exchange: request.exchange,
            ownership: request.ownership ?? .defaultPolicy)
    }
}

extension ControlError {
    /// Runs `body`, with its errors as what the protocol has for them: `unknown_allocator`, `limit_exceeded`, `unsuitable_plan`.
    package static func mapping<Value>(_ body: () throws -> Value) throws(ControlError) -> Value {
        do {
            return try body()
        } catch let error as ControlError {
            throw error
        } catch let error as PlacementError where error.isOfName {
            throw ControlError(.unknownAllocator, "\(error)")
        } catch PlacementError.tooManyRanks(let reason) {
            throw ControlError(.limitExceeded, reason)
        } catch {
            throw ControlError(.unsuitablePlan, "\(error)")
        }
    }
}

extension PlacementError {
    /// Whether an allocator's name is at fault.
    fileprivate var isOfName: Bool {
        switch self {
        case .unknownAllocator, .unknownProgram: true
        case .invalidMesh, .invalidPlan, .unsuitableAllocator, .tooManyRanks, .invalidOption, .exceedsMemory,
            .programFailed:
            false
        }
    }
}
