import ControlProtocol
import ExpertPlacement

/// The planner of one incarnation of a run, and what it has been told.
struct RunPlanner: Sendable {
    let subject: PlanningContext.Subject
    private(set) var planner: PlacementPlanner
    /// Failures since the policy last answered.
    private var failures = 0
    /// The last step that was reported.
    private var step = 0
    /// Highest sequence that was recorded, by rank. Reports come in order, and again when they were stored already.
    private var sequences = [Int: Int]()

    /// - Parameter intervalSteps: between two looks at the plan; nil: the subject's.
    /// - Throws: `PlacementError` when the model is too large to plan for.
    init(
        _ subject: PlanningContext.Subject, allocator: any ExpertsAllocator, intervalSteps: Int? = nil
    ) throws(PlacementError) {
        // One that was registered before there was a bound.
        try subject.model.checkSize()
        self.subject = subject
        planner = PlacementPlanner(
            allocator: allocator, model: subject.model, cluster: subject.cluster,
            intervalSteps: intervalSteps ?? subject.intervalSteps)
    }

    private var who: String { "allocator \(subject.allocator)" }

    mutating func record(_ reports: [Report]) {
        for report in reports
        where report.incarnation == subject.incarnation && report.sequence > sequences[report.rank, default: 0] {
            sequences[report.rank] = report.sequence
            planner.record(report.sample, rank: report.rank)
            step = max(step, report.sample.firstStep + report.sample.stepCount - 1)
        }
    }

    /// Looks at what is new. May take long: the policy may be a program.
    /// - Parameter proposing: whether it may propose, not only tell what plans have brought.
    mutating func plan(_ context: PlanningContext, proposing: Bool) -> [PlanningOutcome] {
        var outcomes = planner.observations().map { PlanningOutcome.observed(revision: $0.revision, $0.observation) }
        guard proposing, planner.isDue, context.planInFlight?.mayBeWithdrawn ?? true else { return outcomes }
        do {
            let proposal = try propose(context)
            failures = 0
            if let stale = context.planInFlight?.plan {
                if proposal?.plan.layers.map(\.experts) == stale.layers.map(\.experts)
                    || planner.keeps(stale, over: proposal, current: context.plan)
                {
                    return outcomes
                }
                let why =
                    proposal == nil ? "newer measurements do not call for it" : "newer measurements call for another"
                outcomes.append(.withdrawn(revision: stale.revision, who: who, why: why))
            }
            if let proposal {
                outcomes.append(.proposed(proposal, from: context.plan.revision, who: who))
            }
        } catch {
            // A policy that always fails would fill the list of events; 1, 2, 4, 8 … failures are told.
            failures += 1
            if failures & (failures - 1) == 0 {
                let count = failures > 1 ? " (failure \(failures))" : ""
                outcomes.append(.failed(who: who, why: EventText.line("\(error)\(count)")))
            }
        }
        return outcomes
    }

    /// A better plan than the active one; nil: there is none, or it is frozen.
    mutating func propose(_ context: PlanningContext) throws(PlacementError) -> PlanProposal? {
        guard var proposal = try planner.propose(current: context.plan, settings: context.settings, step: step) else {
            return nil
        }
        proposal.why = EventText.line(proposal.why)
        return proposal
    }

    /// What is to be expected of an operator's plan.
    /// - Throws: `PlacementError` when it does not suit the run, or does not fit the memory of its ranks.
    func examine(_ plan: PlacementPlan, current: PlacementPlan) throws(PlacementError) -> PlanPrediction {
        try planner.check(plan, current: current)
        return planner.assess(plan, current: current)
    }
}

/// Text for events.
enum EventText {
    /// `text` in one line that the control protocol takes.
    static func line(_ text: String, limit: Int = Limits.standard.reasonBytes) -> String {
        let scalars = text.unicodeScalars.map { $0.properties.generalCategory == .control ? " " : $0 }
        var line = String(String.UnicodeScalarView(scalars))
        guard line.utf8.count > limit else { return line }
        let mark = "…"
        while line.utf8.count > limit - mark.utf8.count { line.unicodeScalars.removeLast() }
        return line + mark
    }
}
