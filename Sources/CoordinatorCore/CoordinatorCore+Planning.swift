import ControlProtocol
import ExpertPlacement

extension CoordinatorCore {
    /// What operators say of planning.
    mutating func control(
        _ request: ControlPlanning, run: String, at time: Timestamp
    ) throws(ControlError) -> (changes: [Change], answer: Answer) {
        guard let state = runs[run] else { throw .unknownRun(run) }
        for expert in request.pin + request.unpin {
            guard state.model.layers.indices.contains(expert.layer),
                state.model.layers[expert.layer].indices.contains(expert.expert)
            else { throw ControlError(.badRequest, "\(expert) is not in the model of run \(run)") }
        }
        var settings = state.planning
        settings.frozen = request.freeze ?? settings.frozen
        settings.pinned = settings.pinned.union(request.pin).subtracting(request.unpin)

        var answer = PlanningState(run: run, frozen: settings.frozen, pinned: settings.pinned.sorted())
        let stale = state.planInFlight.flatMap { staleness(of: $0, request, state) == nil ? nil : $0 }
        answer.withdrawnRevision = stale?.plan.revision
        if request.dryRun { return ([], .planningState(answer)) }

        var changes = [Change]()
        if settings != state.planning {
            runs[run]?.planning = settings
            changes.append(.setPlanning(run: run, settings))
            changes += events(from: state.planning, to: settings, request, state, at: time)
        }
        if let stale, let why = staleness(of: stale, request, state) {
            changes += end(
                stale, of: run, as: .withdrawn, who: Self.operator(request.who), why: "\(why): \(request.why)", at: time
            )
        }
        return (changes, .planningState(answer))
    }

    /// Why a plan has to be taken back; nil: it may stay.
    private func staleness(of flight: PlanInFlight, _ request: ControlPlanning, _ state: RunState) -> String? {
        guard flight.state == .proposed else { return nil }
        if request.freeze == true { return "planning was frozen" }
        guard flight.origin == .planner, let expert = flight.plan.moved(request.pin, from: state.plan).first else {
            return nil
        }
        return "\(expert) was pinned"
    }

    private func events(
        from old: PlanningSettings, to new: PlanningSettings, _ request: ControlPlanning, _ state: RunState,
        at time: Timestamp
    ) -> [Change] {
        var events = [(RunEvent.Kind, String)]()
        if new.frozen != old.frozen {
            events.append((new.frozen ? .planningFrozen : .planningUnfrozen, request.why))
        }
        for (kind, experts) in [
            (RunEvent.Kind.expertPinned, new.pinned.subtracting(old.pinned)),
            (.expertUnpinned, old.pinned.subtracting(new.pinned)),
        ] where !experts.isEmpty {
            events.append((kind, "\(Self.list(experts)): \(request.why)"))
        }
        return events.map { kind, why in
            .addEvent(
                run: state.run,
                RunEvent(
                    kind: kind, at: time, incarnation: state.incarnation, who: Self.operator(request.who), why: why))
        }
    }

    /// The first few, for people to read.
    static func list(_ experts: Set<ExpertID>) -> String {
        let shown = 8
        let names = experts.sorted().prefix(shown).map(\.description).joined(separator: "; ")
        return experts.count > shown ? "\(names) and \(experts.count - shown) more" : names
    }
}
