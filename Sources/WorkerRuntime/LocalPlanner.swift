import Dispatch
import ExpertPlacement
import Logging
import Synchronization

/// Plans in this job, without a coordinator, beside the training.
final class LocalPlanner: PlanSource, Sendable {
    private struct Shared {
        /// The plan in force.
        var current: PlacementPlan
        var lastRevision: Int
        var pending: PlacementPlan?
        /// A plan that was taken, and whose fate is open.
        var underWay: PlacementPlan?
        var lastStep = 0
        var failure: String?
    }

    /// Only the queue's work locks it, while it plans.
    private let planner: Mutex<PlacementPlanner>
    private let shared: Mutex<Shared>
    private let queue = DispatchQueue(label: "moe.planner")
    private let logger: Logger

    /// - Parameter largestRevision: that a plan of the run has had.
    init(
        allocator: any ExpertsAllocator, plan: PlacementPlan, largestRevision: Int, model: ExpertModel,
        cluster: Cluster, intervalSteps: Int, logger: Logger
    ) {
        planner = Mutex(
            PlacementPlanner(allocator: allocator, model: model, cluster: cluster, intervalSteps: intervalSteps))
        shared = Mutex(Shared(current: plan, lastRevision: max(plan.revision, largestRevision)))
        self.logger = logger
    }

    /// Takes samples of all ranks, rank by rank, and plans when it is time. Returns at once.
    func record(_ samples: [PerformanceSample]) {
        queue.async { [self] in plan(with: samples) }
    }

    private func plan(with samples: [PerformanceSample]) {
        let state = shared.withLock { state in
            state.lastStep = samples.map { $0.firstStep + $0.stepCount - 1 }.max() ?? state.lastStep
            return state
        }
        let isIdle = state.pending == nil && state.underWay == nil
        let (result, observations) = planner.withLock { planner in
            for (rank, sample) in samples.enumerated() { planner.record(sample, rank: rank) }
            let observations = planner.observations()
            guard isIdle, planner.isDue else { return (Result<PlanProposal?, any Error>.success(nil), observations) }
            return (
                Result {
                    try planner.propose(current: state.current, settings: PlanningSettings(), step: state.lastStep)
                }, observations
            )
        }
        for (revision, observation) in observations {
            logger.debug("placement revision \(revision): \(observation)")
        }
        switch result {
        case .success(nil): break
        case .success(let proposal?):
            logger.debug("step \(state.lastStep): \(proposal.why)")
            shared.withLock { state in
                state.lastRevision += 1
                var plan = proposal.plan
                plan.revision = state.lastRevision
                state.pending = plan
            }
        case .failure(let error):
            let message = "\(error)"
            // The same every time, so once is enough.
            let isNew = shared.withLock { state in
                defer { state.failure = message }
                return state.failure != message
            }
            if isNew { logger.warning("the placement stays as it is: \(message)") }
        }
    }

    func hasPlan(before step: Int) -> Bool { shared.withLock { $0.pending != nil } }

    func takePlan() -> PlacementPlan? {
        shared.withLock { state in
            guard let plan = state.pending else { return nil }
            state.pending = nil
            state.underWay = plan
            return plan
        }
    }

    var largestRevision: Int { shared.withLock(\.lastRevision) }

    func note(_ event: PlanEvent) {
        switch event.kind {
        case .accepted, .switched: return
        case .rejected(let reason):
            logger.warning("placement revision \(event.revision) was refused: \(reason)")
        case .applied: break
        }
        shared.withLock { state in
            if event.kind == .applied, let plan = state.underWay { state.current = plan }
            state.underWay = nil
        }
    }
}
