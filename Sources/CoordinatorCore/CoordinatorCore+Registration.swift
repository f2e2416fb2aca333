import ControlProtocol
import ExpertPlacement

extension CoordinatorCore {
    /// A run's first start, or another one.
    mutating func register(
        _ request: RegisterRun, at time: Timestamp
    ) throws(ControlError) -> (changes: [Change], answer: Answer) {
        let run = request.run
        let known = runs[run]
        if let known, let incarnation = known.registrations[request.registration] {
            // Sent again, or late. It has had its effect.
            try requireCurrent(run, incarnation: incarnation)
            return ([], .runRegistered(RunRegistered(run: run, incarnation: incarnation, plan: known.plan)))
        }

        let decision = try PlanDecision.make(for: request, known: known, limits: limits, programs: programs)
        var used = known?.used ?? usedNumbers[run] ?? UsedNumbers()
        let knownRevision = used.revision
        if let checkpoint = request.checkpoint {
            used.revision = max(used.revision, checkpoint.revision)
            used.incarnation = max(used.incarnation, checkpoint.incarnation)
        }
        let incarnation = used.incarnation + 1
        let who = "rank 0 on \(request.host), process \(request.processID)"
        var changes: [Change] = [
            .putRun(request, incarnation: incarnation, at: time),
            .addIncarnation(request, number: incarnation, at: time),
            .addEvent(
                run: run,
                RunEvent(
                    kind: .runRegistered, at: time, incarnation: incarnation, who: who,
                    why: "incarnation \(incarnation), \(request.worldSize) ranks, allocator \(request.allocator)")),
        ]

        changes += interrupt(known, who: who, incarnation: incarnation, at: time)
        var planning = known?.planning ?? PlanningSettings()
        if let known, request.model != known.model, !planning.pinned.isEmpty {
            changes += unpin(planning.pinned, run: run, who: who, incarnation: incarnation, at: time)
            planning.pinned = []
            changes.append(.setPlanning(run: run, planning))
        }

        let plan: PlacementPlan
        var lastRevision = used.revision
        switch decision {
        case .keep(let active):
            plan = active
            if lastRevision > knownRevision { changes.append(.raiseRevision(run: run, to: lastRevision)) }
        case .activate(var chosen, let why):
            lastRevision += 1
            chosen.revision = lastRevision
            plan = chosen
            if let old = known?.plan.revision {
                let reason = "revision \(lastRevision) became active: \(why)"
                changes.append(.setPlanState(run: run, revision: old, .superseded, reason: reason, at: time))
                changes.append(
                    .addEvent(
                        run: run,
                        RunEvent(
                            kind: .planSuperseded, at: time, incarnation: incarnation, revision: old, who: who,
                            why: reason)))
            }
            changes.append(
                .addPlan(
                    PlanRecord(
                        run: run, incarnation: incarnation, plan: plan, state: .active, who: who, why: why, at: time)))
            changes.append(
                .addEvent(
                    run: run,
                    RunEvent(
                        kind: .planActivated, at: time, incarnation: incarnation, revision: lastRevision, who: who,
                        why: why)))
        }

        var registrations = known?.registrations ?? [:]
        registrations[request.registration] = incarnation
        usedNumbers[run] = nil
        runs[run] = RunState(
            run: run, model: request.model, allocator: request.allocator, cluster: Cluster(request),
            interval: request.interval, plan: plan, planning: planning, lastRevision: lastRevision,
            incarnation: incarnation, usedIncarnation: known?.usedIncarnation ?? 0, registrations: registrations,
            reportCount: used.report)
        return (changes, .runRegistered(RunRegistered(run: run, incarnation: incarnation, plan: plan)))
    }

    /// What becomes of a plan in flight when the job is started again: the new incarnation begins under the active plan.
    private mutating func interrupt(
        _ known: RunState?, who: String, incarnation: Int, at time: Timestamp
    ) -> [Change] {
        guard let known, let flight = known.planInFlight else { return [] }
        let why = "incarnation \(incarnation) began"
        return end(
            flight, of: known.run, as: flight.state == .proposed ? .withdrawn : .abandoned, who: who, why: why, at: time
        )
    }

    private func unpin(
        _ experts: Set<ExpertID>, run: String, who: String, incarnation: Int, at time: Timestamp
    ) -> [Change] {
        [
            .addEvent(
                run: run,
                RunEvent(
                    kind: .expertUnpinned, at: time, incarnation: incarnation, who: who,
                    why: "\(Self.list(experts)): the model is another one"))
        ]
    }

    mutating func register(
        _ request: RegisterWorker, at time: Timestamp
    ) throws(ControlError) -> (changes: [Change], answer: Answer) {
        try requireCurrent(request.run, incarnation: request.incarnation)
        let worldSize = runs[request.run]?.plan.worldSize ?? 0
        guard request.rank < worldSize else {
            throw ControlError(
                .badRequest, "rank \(request.rank) is not in run \(request.run), which has \(worldSize) ranks")
        }
        let answer = Answer.workerRegistered(
            WorkerRegistered(run: request.run, incarnation: request.incarnation, rank: request.rank))
        let known = runs[request.run]?.workers[request.rank]
        if let known, known.host == request.host, known.processID == request.processID { return ([], answer) }
        runs[request.run]?.workers[request.rank] = RunState.Worker(
            host: request.host, processID: request.processID, reports: known?.reports ?? SequenceWindow())
        return ([.putWorker(request, at: time)], answer)
    }

    mutating func finish(
        _ request: FinishRun, at time: Timestamp
    ) throws(ControlError) -> (changes: [Change], answer: Answer) {
        try requireCurrent(request.run, incarnation: request.incarnation)
        // The first word counts: a repeated request changes nothing.
        guard runs[request.run]?.outcome == nil else { return ([], .acknowledged(Acknowledged())) }
        runs[request.run]?.outcome = request.outcome
        let why = request.reason.map { ": \($0)" } ?? ""
        var changes = [Change]()
        if let flight = runs[request.run]?.planInFlight, flight.state == .proposed {
            changes = end(
                flight, of: request.run, as: .withdrawn, who: "rank 0", why: "the run has ended", at: time)
        }
        return (
            changes + [
                .endIncarnation(request, at: time),
                .addEvent(
                    run: request.run,
                    RunEvent(
                        kind: .runFinished, at: time, incarnation: request.incarnation, who: "rank 0",
                        why: "\(request.outcome.rawValue) after step \(request.step)\(why)")),
            ], .acknowledged(Acknowledged())
        )
    }
}
