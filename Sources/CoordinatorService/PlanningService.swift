import ControlProtocol
import CoordinatorCore
import ExpertPlacement
import PlanningPrograms

/// What makes plans from reports, as the server needs it.
package protocol PlanningService: Sendable {
    /// Takes a report that is durable. Returns at once.
    func applied(_ report: Report)

    /// What is to be expected of an operator's plan.
    /// - Throws: `PlacementError` when it does not suit the run, or does not fit the memory of its ranks.
    func examine(_ plan: PlacementPlan, of run: String, _ context: PlanningContext) async throws -> PlanPrediction

    /// A better plan than the active one, now; nil: there is none.
    func propose(of run: String, _ context: PlanningContext) async throws -> PlanProposal?
}

extension PlanningLoop: PlanningService {}

extension PlanningConfiguration {
    /// The names under which runs choose programs.
    var allocatorNames: Set<String> { Set(programs.keys.map { Allocators.programPrefix + $0 }) }
}

/// The coordinator as the planner sees it.
struct CoordinatorPlanningHost: PlanningHost {
    let store: CoordinatorStore
    let processor: ChangeProcessor

    func planningContext(of run: String) async throws -> PlanningContext? {
        try await processor.planningContext(of: run)
    }

    func storedReports(of run: String, incarnation: Int, limit: Int) async throws -> [Report] {
        try await store.reports(of: run, incarnation: incarnation, limit: limit)
    }

    func record(_ outcome: PlanningOutcome, of run: String, incarnation: Int) async throws {
        let record =
            switch outcome {
            case .proposed(let proposal, let from, let who):
                PlanningRecord(run: run, incarnation: incarnation, who: who, outcome: .proposed(proposal, from: from))
            case .withdrawn(let revision, let who, let why):
                PlanningRecord(
                    run: run, incarnation: incarnation, who: who, outcome: .withdrawn(revision: revision, why: why))
            case .observed(let revision, let observation):
                PlanningRecord(
                    run: run, incarnation: incarnation, who: "planner",
                    outcome: .observed(revision: revision, observation))
            case .failed(let who, let why):
                PlanningRecord(run: run, incarnation: incarnation, who: who, outcome: .failed(why: why))
            }
        guard case .refused(let error) = await processor.answer(to: .recordPlanning(record)) else { return }
        // The job was started again meanwhile: there is nobody to whom this matters.
        if error.code != .staleIncarnation { throw error }
    }
}

extension PlanningContext {
    /// Steps between two looks at the plan of a run that did not say how often it reports.
    private static let defaultIntervalSteps = 10

    init(_ state: RunState) {
        self.init(
            subject: Subject(
                incarnation: state.incarnation, allocator: state.allocator, model: state.model, cluster: state.cluster,
                intervalSteps: state.interval ?? Self.defaultIntervalSteps),
            plan: state.plan,
            planInFlight: state.planInFlight.map {
                PlanInFlight(plan: $0.plan, mayBeWithdrawn: $0.state == .proposed && $0.origin == .planner)
            }, settings: state.planning, hasEnded: state.outcome != nil)
    }
}
