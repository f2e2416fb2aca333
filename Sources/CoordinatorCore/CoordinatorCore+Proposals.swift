import ControlProtocol
import ExpertPlacement

extension CoordinatorCore {
    /// Who asked, for the record: the name is the client's word, that it is an operator's request is not. The records of ranks
    /// begin with "rank", those of the planner with "allocator".
    static func `operator`(_ name: String) -> String { "operator \(name)" }

    /// An operator's plan.
    mutating func propose(
        _ submission: PlanSubmission, at time: Timestamp
    ) throws(ControlError) -> (changes: [Change], answer: Answer) {
        let run = submission.run
        guard let state = runs[run] else { throw .unknownRun(run) }
        guard state.outcome == nil else {
            throw ControlError(
                .conflict, "run \(run) has ended: there are no ranks to apply a plan; start it again first")
        }
        if let flight = state.planInFlight {
            throw ControlError(
                .conflict,
                "revision \(flight.plan.revision) of run \(run) is \(flight.state.rawValue); wait until it is active, or "
                    + "freeze planning to take back a plan that is proposed")
        }
        guard submission.from == state.plan.revision else {
            throw ControlError(
                .conflict, "revision \(state.plan.revision) of run \(run) became active in the meantime; try again")
        }
        let plan = try checked(submission.plan, state)
        var answer = PlacementProposed(
            run: run, revision: nil, plan: nil, prediction: nil, why: "the active plan places all experts so already")
        guard !plan.hasSamePlacement(as: state.plan) else { return ([], .placementProposed(answer)) }
        answer.plan = plan
        answer.prediction = submission.prediction
        answer.why = submission.why
        if submission.dryRun { return ([], .placementProposed(answer)) }
        let changes = add(
            plan, submission.prediction, from: .operator, run, who: Self.operator(submission.who),
            why: submission.why, at: time)
        answer.plan = runs[run]?.planInFlight?.plan
        answer.revision = answer.plan?.revision
        return (changes, .placementProposed(answer))
    }

    /// What the planner has found.
    mutating func record(
        _ record: PlanningRecord, at time: Timestamp
    ) throws(ControlError) -> (changes: [Change], answer: Answer) {
        try requireCurrent(record.run, incarnation: record.incarnation)
        guard let state = runs[record.run] else { throw .unknownRun(record.run) }
        var changes = [Change]()
        switch record.outcome {
        case .proposed(let proposal, let from):
            guard state.outcome == nil, state.planInFlight == nil, !state.planning.frozen, from == state.plan.revision
            else { break }
            let plan = try checked(proposal.plan, state)
            guard !plan.hasSamePlacement(as: state.plan),
                // What the ranks cannot do the planner, which does not know why, finds best again and again.
                !state.rejectedPlans.contains(where: { $0.hasSamePlacement(as: plan) }),
                plan.moved(state.planning.pinned, from: state.plan).isEmpty
            else { break }
            changes = add(
                plan, proposal.prediction, from: .planner, record.run, who: record.who, why: proposal.why, at: time)
        case .withdrawn(let revision, let why):
            guard let flight = state.planInFlight, flight.plan.revision == revision, flight.state == .proposed,
                flight.origin == .planner
            else { break }
            changes = end(flight, of: record.run, as: .withdrawn, who: record.who, why: why, at: time)
        case .observed(let revision, let observation):
            guard revision <= state.lastRevision else { break }
            changes = [.setPlanObservation(run: record.run, revision: revision, observation)]
        case .failed(let why):
            changes = [
                .addEvent(
                    run: record.run,
                    RunEvent(
                        kind: .planningFailed, at: time, incarnation: state.incarnation, who: record.who, why: why))
            ]
        }
        return (changes, .acknowledged(Acknowledged()))
    }

    /// Takes a plan out of flight.
    /// - Parameter state: `rejected`, `withdrawn` or `abandoned`.
    mutating func end(
        _ flight: PlanInFlight, of run: String, as state: PlanState, who: String, why: String, at time: Timestamp
    ) -> [Change] {
        let revision = flight.plan.revision
        runs[run]?.planInFlight = nil
        runs[run]?.pastPlans[revision] = state
        if state == .rejected, let rejected = runs[run]?.rejectedPlans {
            runs[run]?.rejectedPlans = Array((rejected + [flight.plan]).suffix(RunState.mostRejectedPlans))
        }
        let kind: RunEvent.Kind =
            switch state {
            case .rejected: .planRejected
            case .abandoned: .planAbandoned
            default: .planWithdrawn
            }
        return [
            .setPlanState(run: run, revision: revision, state, reason: why, at: time),
            .addEvent(
                run: run,
                RunEvent(
                    kind: kind, at: time, incarnation: runs[run]?.incarnation ?? 0, revision: revision, who: who,
                    why: why)),
        ]
    }

    private mutating func add(
        _ plan: PlacementPlan, _ prediction: PlanPrediction, from origin: PlanOrigin, _ run: String, who: String,
        why: String, at time: Timestamp
    ) -> [Change] {
        guard let state = runs[run] else { return [] }
        var plan = plan
        plan.revision = state.lastRevision + 1
        runs[run]?.lastRevision = plan.revision
        runs[run]?.planInFlight = PlanInFlight(plan: plan, origin: origin)
        return [
            .addPlan(
                PlanRecord(
                    run: run, incarnation: state.incarnation, plan: plan, state: .proposed, origin: origin, who: who,
                    why: why, prediction: prediction, at: time)),
            .addEvent(
                run: run,
                RunEvent(
                    kind: .planProposed, at: time, incarnation: state.incarnation, revision: plan.revision, who: who,
                    why: why)),
        ]
    }

    /// The plan for the run's ranks, not switched anywhere.
    /// - Throws: `unsuitable_plan` when it is for another model or world, or does not fit the memory of a rank.
    private func checked(_ plan: PlacementPlan, _ state: RunState) throws(ControlError) -> PlacementPlan {
        try ControlError.mapping { () throws(any Error) in
            try plan.validate(for: state.model, worldSize: state.plan.worldSize)
            let plan = try PlacementPlan(
                worldSize: plan.worldSize, nodes: state.plan.nodes, layers: plan.layers
            ).withoutSwitches
            try PlanMemory.check(plan, from: state.plan, model: state.model, cluster: state.cluster)
            return plan
        }
    }
}
