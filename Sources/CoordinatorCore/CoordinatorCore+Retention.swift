import ControlProtocol

/// Runs that are not looked at any more.
extension CoordinatorCore {
    mutating func archive(
        _ request: ArchiveRun, at time: Timestamp
    ) throws(ControlError) -> (changes: [Change], answer: Answer) {
        let run = request.run
        guard let state = runs[run] else { throw .unknownRun(run) }
        if let archivedAt = state.archivedAt {
            return ([], .runArchived(RunArchived(run: run, archivedAt: archivedAt)))
        }
        try requireEnd(of: state)
        let answer = Answer.runArchived(RunArchived(run: run, archivedAt: time))
        if request.dryRun { return ([], answer) }
        runs[run]?.archivedAt = time
        return (
            [
                .archiveRun(run, at: time),
                .addEvent(
                    run: run,
                    RunEvent(
                        kind: .runArchived, at: time, incarnation: state.incarnation, who: Self.operator(request.who),
                        why: request.why)),
            ], answer
        )
    }

    mutating func delete(
        _ request: DeleteRun, at time: Timestamp
    ) throws(ControlError) -> (changes: [Change], answer: Answer) {
        let run = request.run
        guard let state = runs[run] else { throw .unknownRun(run) }
        try requireEnd(of: state)
        if request.dryRun { return ([], .acknowledged(Acknowledged())) }
        runs[run] = nil
        usedNumbers[run] = state.used
        var record = request
        record.who = Self.operator(request.who)
        return ([.deleteRun(record, used: state.used, at: time)], .acknowledged(Acknowledged()))
    }

    /// What was archived in silence goes on: its ranks are there again.
    mutating func bringBack(_ run: String, at time: Timestamp) -> [Change] {
        guard runs[run]?.archivedAt != nil, runs[run]?.outcome == nil, let incarnation = runs[run]?.incarnation else {
            return []
        }
        runs[run]?.archivedAt = nil
        return [
            .archiveRun(run, at: nil),
            .addEvent(
                run: run,
                RunEvent(
                    kind: .runBroughtBack, at: time, incarnation: incarnation, who: "ranks",
                    why: "they were heard of again")),
        ]
    }

    /// Checks that the ranks have ended: they said so, or nothing for long.
    private func requireEnd(of state: RunState) throws(ControlError) {
        let silence = silence(of: state.run)
        guard state.outcome == nil, silence < limits.silentTime else { return }
        throw ControlError(
            .conflict,
            "run \(state.run) may be running: this coordinator has heard nothing of it for \(silence.components.seconds) "
                + "seconds; end its job first, or wait until that are \(limits.silentTime.components.seconds)")
    }
}

extension RunState {
    var used: UsedNumbers {
        UsedNumbers(
            revision: lastRevision, incarnation: max(incarnation, usedIncarnation), report: reportCount)
    }
}
