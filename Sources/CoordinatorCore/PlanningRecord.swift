import ExpertPlacement

/// What the planner of a run has found. What comes too late, for another incarnation or another plan, changes nothing.
public struct PlanningRecord: Hashable, Sendable {
    public enum Outcome: Hashable, Sendable {
        /// - Parameter from: revision of the plan that was active when it was made.
        case proposed(PlanProposal, from: Int)
        /// The planner's own proposal has gone stale.
        case withdrawn(revision: Int, why: String)
        /// What a plan has brought.
        case observed(revision: Int, PlanObservation)
        /// There is no plan.
        case failed(why: String)
    }

    public var run: String
    public var incarnation: Int
    public var who: String
    public var outcome: Outcome

    public init(run: String, incarnation: Int, who: String, outcome: Outcome) {
        self.run = run
        self.incarnation = incarnation
        self.who = who
        self.outcome = outcome
    }
}
