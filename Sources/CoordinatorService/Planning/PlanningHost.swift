import ControlProtocol
import ExpertPlacement

/// What the planning loop asks of the coordinator, and has it record.
package protocol PlanningHost: Sendable {
    /// What planning a run depends on, as it is now; nil: there is no such run.
    func planningContext(of run: String) async throws -> PlanningContext?

    /// The newest reports of an incarnation, `limit` at most, oldest first.
    func storedReports(of run: String, incarnation: Int, limit: Int) async throws -> [Report]

    /// Has the state machine decide on `outcome`, and makes the decision durable. An outcome that has come too late, for
    /// another incarnation or plan, changes nothing.
    func record(_ outcome: PlanningOutcome, of run: String, incarnation: Int) async throws
}

/// What planning a run depends on.
package struct PlanningContext: Hashable, Sendable {
    /// What a planner is made for: when it changes, another planner is needed.
    package struct Subject: Hashable, Sendable {
        package var incarnation: Int
        package var allocator: String
        package var model: ExpertModel
        package var cluster: Cluster
        /// Steps between two looks at the plan.
        package var intervalSteps: Int

        package init(
            incarnation: Int, allocator: String, model: ExpertModel, cluster: Cluster, intervalSteps: Int
        ) {
            self.incarnation = incarnation
            self.allocator = allocator
            self.model = model
            self.cluster = cluster
            self.intervalSteps = intervalSteps
        }
    }

    /// The plan that is on its way.
    package struct PlanInFlight: Hashable, Sendable {
        package var plan: PlacementPlan
        /// Whether it was the planner's, and no rank has accepted it yet.
        package var mayBeWithdrawn: Bool

        package init(plan: PlacementPlan, mayBeWithdrawn: Bool) {
            self.plan = plan
            self.mayBeWithdrawn = mayBeWithdrawn
        }
    }

    package var subject: Subject
    /// The active plan.
    package var plan: PlacementPlan
    package var planInFlight: PlanInFlight?
    package var settings: PlanningSettings
    /// The incarnation has said that it is over.
    package var hasEnded: Bool

    package init(
        subject: Subject, plan: PlacementPlan, planInFlight: PlanInFlight? = nil,
        settings: PlanningSettings = PlanningSettings(), hasEnded: Bool = false
    ) {
        self.subject = subject
        self.plan = plan
        self.planInFlight = planInFlight
        self.settings = settings
        self.hasEnded = hasEnded
    }
}

/// What planning has led to.
package enum PlanningOutcome: Hashable, Sendable {
    /// - Parameter from: revision of the plan that was active when it was made.
    case proposed(PlanProposal, from: Int, who: String)
    /// The planner's proposal of this revision has gone stale.
    case withdrawn(revision: Int, who: String, why: String)
    /// What the plan of this revision brought.
    case observed(revision: Int, PlanObservation)
    /// The policy gave no plan.
    case failed(who: String, why: String)
}
