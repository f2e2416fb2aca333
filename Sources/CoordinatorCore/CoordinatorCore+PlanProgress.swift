import ControlProtocol
import ExpertPlacement

extension CoordinatorCore {
    /// Who tells what the ranks did.
    private static let ranks = "rank 0"

    /// What is proposed, for ranks that have the active plan.
    mutating func offer(_ request: PollPlan) throws(ControlError) -> (changes: [Change], answer: Answer) {
        try requireCurrent(request.run, incarnation: request.incarnation)
        try checkRevision(request.revision, of: request.run)
        let changes = raiseRevision(to: request.revision, of: request.run)
        guard let state = runs[request.run], let flight = state.planInFlight, flight.state == .proposed,
            // Ranks that are ahead will say so; what is proposed was made for the plan before.
            request.revision == state.plan.revision
        else { return (changes, .planOffer(PlanOffer(plan: nil))) }
        return (changes, .planOffer(PlanOffer(plan: flight.plan)))
    }

    /// Whether the message says that the ranks apply a plan that was withdrawn. The state machine does not keep such plans:
    /// whoever drives it has to hand it over with the request.
    public func isRevived(by request: PlanProgress) -> Bool {
        request.transition == .accepted && runs[request.run]?.incarnation == request.incarnation
            && runs[request.run]?.pastPlans[request.revision] == .withdrawn
    }

    /// What the ranks have applied is the truth; this brings the record up to it.
    mutating func apply(
        _ request: PlanProgress, withdrawn: PlanInFlight?, at time: Timestamp
    ) throws(ControlError) -> (changes: [Change], answer: Answer) {
        let run = request.run
        try requireCurrent(run, incarnation: request.incarnation)
        guard let state = runs[run] else { throw .unknownRun(run) }
        if let layer = request.switched.map(\.layer).first(where: { $0 >= state.plan.layers.count }) {
            throw ControlError(
                .badRequest, "layer \(layer) is not in the plan, which has \(state.plan.layers.count) layers")
        }
        let changes: [Change]
        if let flight = state.planInFlight, flight.plan.revision == request.revision {
            changes = try advance(flight, request, at: time)
        } else {
            changes = try review(request, withdrawn: withdrawn, at: time)
        }
        return (changes, .acknowledged(Acknowledged()))
    }

    /// Progress of the plan in flight.
    private mutating func advance(
        _ flight: PlanInFlight, _ request: PlanProgress, at time: Timestamp
    ) throws(ControlError) -> [Change] {
        switch (flight.state, request.transition) {
        case (.proposed, .accepted): return accept(flight, request, why: nil, at: time)
        case (.proposed, .rejected):
            let reason = request.reason ?? "no reason was given"
            return end(flight, of: request.run, as: .rejected, who: Self.ranks, why: reason, at: time)
        case (_, .accepted) where flight.acceptedStep == request.step: return []
        case (.accepted, .applying), (.applying, .applying):
            guard try isNews(flight, request) else { return [] }
            return apply(flight, request, at: time)
        case (.accepted, .applied), (.applying, .applied):
            _ = try isNews(flight, request)
            return activate(flight, request, at: time)
        default: throw .invalidTransition(request, from: flight.state)
        }
    }

    /// Progress of a plan that is not in flight: repeated, too late, or about a plan that was taken back too late.
    private mutating func review(
        _ request: PlanProgress, withdrawn: PlanInFlight?, at time: Timestamp
    ) throws(ControlError) -> [Change] {
        guard let past = runs[request.run]?.pastPlans[request.revision] else {
            throw ControlError(
                .invalidTransition,
                "revision \(request.revision) was not proposed to incarnation \(request.incarnation) of run \(request.run)"
            )
        }
        switch (past, request.transition) {
        case (.active, .accepted), (.active, .applying), (.active, .applied), (.superseded, .accepted),
            (.superseded, .applying), (.superseded, .applied), (.rejected, .rejected), (.withdrawn, .rejected):
            return []
        case (.withdrawn, .accepted): return try revive(withdrawn, request, at: time)
        default: throw .invalidTransition(request, from: past)
        }
    }

    /// The ranks had taken the plan before it was withdrawn, and apply it. Whatever was proposed since was made for ranks that
    /// stay where they are.
    private mutating func revive(
        _ withdrawn: PlanInFlight?, _ request: PlanProgress, at time: Timestamp
    ) throws(ControlError) -> [Change] {
        let run = request.run
        guard let state = runs[run], let withdrawn, withdrawn.plan.revision == request.revision,
            request.revision > state.plan.revision, state.planInFlight?.state ?? .proposed == .proposed
        else { throw .invalidTransition(request, from: .withdrawn) }
        var changes = [Change]()
        if let flight = state.planInFlight {
            changes = end(
                flight, of: run, as: .withdrawn, who: Self.ranks,
                why: "the ranks had accepted revision \(request.revision), which was withdrawn", at: time)
        }
        runs[run]?.pastPlans[request.revision] = nil
        return changes
            + accept(withdrawn, request, why: "the ranks had accepted it before it was withdrawn; ", at: time)
    }

    private mutating func accept(
        _ flight: PlanInFlight, _ request: PlanProgress, why: String?, at time: Timestamp
    ) -> [Change] {
        let (run, revision) = (request.run, request.revision)
        var flight = flight
        flight.state = .accepted
        flight.acceptedStep = request.step
        runs[run]?.planInFlight = flight
        return [
            .setPlanState(run: run, revision: revision, .accepted, reason: nil, at: time),
            .setPlanProgress(request, acceptedStep: flight.acceptedStep),
            event(
                .planAccepted, request, why: (why ?? "") + "its layers switch from step \(request.step) on", at: time),
        ]
    }

    private mutating func apply(_ flight: PlanInFlight, _ request: PlanProgress, at time: Timestamp) -> [Change] {
        var flight = flight
        let isFirst = flight.state == .accepted
        flight.state = .applying
        flight.switched = request.switched
        runs[request.run]?.planInFlight = flight
        let progress = Change.setPlanProgress(request, acceptedStep: flight.acceptedStep)
        guard isFirst else { return [progress] }
        return [
            .setPlanState(run: request.run, revision: request.revision, .applying, reason: nil, at: time), progress,
            event(
                .planApplying, request,
                why: "\(request.switched.count) of \(flight.plan.layers.count) layers switched before step "
                    + "\(request.step)", at: time),
        ]
    }

    private mutating func activate(_ flight: PlanInFlight, _ request: PlanProgress, at time: Timestamp) -> [Change] {
        guard let old = runs[request.run]?.plan.revision else { return [] }
        var request = request
        // Layers in which nothing moves need not be named.
        let named = Set(request.switched.map(\.layer))
        request.switched += flight.plan.layers.indices.filter { !named.contains($0) }.map {
            LayerSwitch(layer: $0, step: request.step)
        }
        let (run, revision) = (request.run, request.revision)
        runs[run]?.plan = flight.plan.with(request.switched)
        runs[run]?.planInFlight = nil
        runs[run]?.rejectedPlans.removeAll { $0.revision < revision }
        runs[run]?.pastPlans[revision] = .active
        if runs[run]?.pastPlans[old] != nil { runs[run]?.pastPlans[old] = .superseded }
        let reason = "revision \(revision) became active"
        return [
            .setPlanProgress(request, acceptedStep: flight.acceptedStep),
            .setPlanState(run: run, revision: old, .superseded, reason: reason, at: time),
            .addEvent(
                run: run,
                RunEvent(
                    kind: .planSuperseded, at: time, incarnation: request.incarnation, revision: old, who: Self.ranks,
                    why: reason)),
            .setPlanState(run: run, revision: revision, .active, reason: nil, at: time),
            event(
                .planActivated, request,
                why: "all layers switched by step \(request.step): \(request.bytes) bytes in "
                    + "\((request.seconds * 10_000).rounded() / 10) ms",
                at: time),
        ]
    }

    /// Whether the message names layers that were not known to have switched.
    /// - Throws: `invalid_transition` when layers are under the plan too early, or not any more.
    private func isNews(_ flight: PlanInFlight, _ request: PlanProgress) throws(ControlError) -> Bool {
        let (known, told) = (Set(flight.switched), Set(request.switched))
        guard request.transition == .applied || !told.isSubset(of: known) else { return false }
        let first = flight.acceptedStep ?? 0
        guard known.isSubset(of: told), request.step >= first, told.allSatisfy({ $0.step >= first }) else {
            throw ControlError(
                .invalidTransition,
                "revision \(request.revision) was accepted from step \(first) on, and \(known.count) layers have switched; "
                    + "the layers named at step \(request.step) contradict that")
        }
        return true
    }

    private func event(_ kind: RunEvent.Kind, _ request: PlanProgress, why: String, at time: Timestamp) -> Change {
        .addEvent(
            run: request.run,
            RunEvent(
                kind: kind, at: time, incarnation: request.incarnation, revision: request.revision, who: Self.ranks,
                why: why))
    }
}

extension ControlError {
    fileprivate static func invalidTransition(_ request: PlanProgress, from state: PlanState) -> ControlError {
        ControlError(
            .invalidTransition,
            "revision \(request.revision) is \(state.rawValue); \(request.transition.rawValue) at step \(request.step) does "
                + "not follow")
    }
}
