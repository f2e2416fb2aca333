import ExpertParallelism
import ExpertPlacement

/// Where rank 0 has its plans from, and where it says what became of them. Answers at once: no step waits for it.
protocol PlanSource: AnyObject {
    /// Whether `takePlan` has one.
    var hasPlan: Bool { get }
    /// The next plan, its revision set; nil: there is none. What becomes of it has to be noted.
    func takePlan() -> PlacementPlan?
    func note(_ event: PlanEvent)
}

/// What became of a plan, at a step.
struct PlanEvent: Sendable, Equatable {
    enum Kind: Sendable, Equatable {
        /// All ranks agreed; the step is the first with a layer under the plan.
        case accepted
        /// Layers have switched before the step.
        case switched
        /// All layers have; `migration` is of the whole plan.
        case applied
        /// A rank cannot apply it. The plan in force stays.
        case rejected(reason: String)
    }

    var revision: Int
    /// Counts from 1.
    var step: Int
    var kind: Kind
    var migration = MigrationReport()
}
