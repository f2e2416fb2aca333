import ControlProtocol
import ExpertPlacement

/// Which plan a run starts with.
enum PlanDecision {
    /// The active one.
    case keep(PlacementPlan)
    /// Another one, its revision not set yet, and why.
    case activate(PlacementPlan, why: String)

    /// - Parameter known: the run as it was before; nil: it is new.
    /// - Throws: `unknown_allocator`, `unsuitable_plan`, `limit_exceeded`.
    static func make(for request: RegisterRun, known: RunState?, limits: Limits) throws(ControlError) -> PlanDecision {
        guard let known else {
            return .activate(try newPlan(for: request, limits: limits), why: "first registration, \(origin(request))")
        }
        var reasons = [String]()
        if request.worldSize != known.plan.worldSize {
            reasons.append("the world size went from \(known.plan.worldSize) to \(request.worldSize)")
        }
        if request.model != known.model { reasons.append("the model is another one") }
        if request.allocator != known.allocator {
            reasons.append("the allocator went from \(known.allocator) to \(request.allocator)")
        }
        if !reasons.isEmpty {
            let why = reasons.joined(separator: ", ") + "; " + origin(request)
            return .activate(try newPlan(for: request, limits: limits), why: why)
        }
        if request.nodes != known.plan.nodes {
            // The placement itself was learned, and holds wherever the ranks run.
            let plan = try mapping { () throws(PlacementError) in
                try PlacementPlan(worldSize: request.worldSize, nodes: request.nodes, layers: known.plan.layers)
            }
            return .activate(plan, why: "the ranks are on other nodes; meshes as before")
        }
        return .keep(known.plan)
    }

    private static func origin(_ request: RegisterRun) -> String {
        request.plan == nil
            ? "placed by allocator \(request.allocator)" : "placed by the worker's allocator \(request.allocator)"
    }

    private static func newPlan(for request: RegisterRun, limits: Limits) throws(ControlError) -> PlacementPlan {
        try mapping { () throws(any Error) in
            if let plan = request.plan {
                try plan.validate(for: request.model, worldSize: request.worldSize)
                return try PlacementPlan(worldSize: request.worldSize, nodes: request.nodes, layers: plan.layers)
            }
            var allocator = try Allocators.make(named: request.allocator)
            let cluster = Cluster(nodes: request.nodes)
            try checkSize(model: request.model, cluster: cluster, allocator: allocator, limits: limits)
            guard
                let plan = try allocator.allocateExperts(
                    current: nil, model: request.model, cluster: cluster, step: 0)
            else {
                throw PlacementError.unsuitableAllocator("allocator \(request.allocator) made no plan")
            }
            try plan.validate(for: request.model, worldSize: request.worldSize)
            return plan
        }
    }

    /// Refuses a plan that would be too large before it is made. One expert, the widest, is placed first: plans of the known
    /// allocators grow with its mesh.
    private static func checkSize(
        model: ExpertModel, cluster: Cluster, allocator: any ExpertsAllocator, limits: Limits
    ) throws {
        guard let widest = model.layers.joined().max() else { return }
        var allocator = allocator
        let sample = try allocator.allocateExperts(
            current: nil, model: ExpertModel(hiddenSize: model.hiddenSize, layers: [[widest]]), cluster: cluster,
            step: 0)
        let experts = model.layers.reduce(0) { $0 + $1.count }
        let meshRanks = sample?.layers.first?.experts.first?.mesh.ranks.count ?? 0
        guard experts * meshRanks <= limits.planRanks else {
            throw ControlError(
                .limitExceeded,
                "\(experts) experts on \(meshRanks) ranks each would list \(experts * meshRanks) ranks, over the limit of "
                    + "\(limits.planRanks) (plan ranks); choose an allocator with smaller meshes")
        }
    }

    private static func mapping<Value>(_ body: () throws -> Value) throws(ControlError) -> Value {
        do {
            return try body()
        } catch let error as ControlError {
            throw error
        } catch PlacementError.unknownAllocator(let name) {
            throw ControlError(.unknownAllocator, "\(PlacementError.unknownAllocator(name))")
        } catch {
            throw ControlError(.unsuitablePlan, "\(error)")
        }
    }
}
