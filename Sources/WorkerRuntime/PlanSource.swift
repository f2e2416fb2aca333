import ExpertParallelism
import ExpertPlacement

/// Where rank 0 has its plans from, and where it says what became of them. Answers at once: no step waits for it.
package protocol PlanSource: AnyObject {
    /// Whether `takePlan` has one for step `step` (from 1); it then keeps it until it is taken.
    func hasPlan(before step: Int) -> Bool
    /// The next plan, its revision set; nil: there is none. What becomes of it has to be noted.
    func takePlan() -> PlacementPlan?
    func note(_ event: PlanEvent)
    /// The largest revision that was in force or was taken.
    var largestRevision: Int { get }
}

/// What became of a plan, at a step.
package struct PlanEvent: Sendable, Equatable {
    package enum Kind: Sendable, Equatable {
        /// All ranks agreed; the step is the first with a layer under the plan.
        case accepted
        /// Layers have switched before the step.
        case switched
        /// All layers have; `migration` is of the whole plan.
        case applied
        /// A rank cannot apply it. The plan in force stays.
        case rejected(reason: String)
    }

    package var revision: Int
    /// Counts from 1.
    package var step: Int
    package var kind: Kind
    package var migration = MigrationReport()

    package init(revision: Int, step: Int, kind: Kind, migration: MigrationReport = MigrationReport()) {
        self.revision = revision
        self.step = step
        self.kind = kind
        self.migration = migration
    }
}
