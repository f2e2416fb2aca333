import ControlProtocol
import ExpertPlacement

extension CoordinatorCore {
    /// Reports between two deletions of old ones, so that not every report pays for one.
    static let reportsPerDrop = 256

    mutating func apply(
        _ request: Report, at time: Timestamp
    ) throws(ControlError) -> (changes: [Change], answer: Answer) {
        let run = request.run
        try requireCurrent(run, incarnation: request.incarnation)
        guard var window = runs[run]?.workers[request.rank]?.reports, let reportCount = runs[run]?.reportCount else {
            throw ControlError(
                .unknownWorker,
                "rank \(request.rank) of run \(run) reports, but did not register in incarnation \(request.incarnation)"
            )
        }
        try checkLoads(of: request)
        try checkRevision(request.sample.planRevision, of: run)

        let answer = Answer.acknowledged(Acknowledged(sequence: request.sequence))
        switch window.verdict(on: request.sequence) {
        case .repeated:
            return ([], answer)
        case .tooOld:
            throw ControlError(
                .staleSequence,
                "report \(request.sequence) of rank \(request.rank) is more than \(SequenceWindow.size) behind "
                    + "\(window.highest): whether it was applied is not known any more")
        case .new:
            window.apply(request.sequence)
        }
        let number = reportCount + 1
        runs[run]?.workers[request.rank]?.reports = window
        runs[run]?.reportCount = number
        var changes = [Change.addReport(request, number: number, window: window, at: time)]
        changes += raiseRevision(to: request.sample.planRevision, of: run)
        let oldest = number - limits.storedReportsPerRun + 1
        if number % Self.reportsPerDrop == 0, oldest > 1 {
            changes.append(.dropReports(run: run, below: oldest))
        }
        return (changes, answer)
    }

    /// Refuses a revision that nobody can have given out: one of them, and numbers would soon run out.
    func checkRevision(_ revision: Int, of run: String) throws(ControlError) {
        guard let last = runs[run]?.lastRevision, revision > last + limits.restoredGap else { return }
        throw ControlError(
            .badRequest, "revision \(revision) was never given out: the highest of run \(run) is \(last)")
    }

    /// Ranks may be ahead of a database that is older than they are. What they are under is not given out again.
    mutating func raiseRevision(to revision: Int, of run: String) -> [Change] {
        guard let last = runs[run]?.lastRevision, revision > last else { return [] }
        runs[run]?.lastRevision = revision
        return [.raiseRevision(run: run, to: revision)]
    }

    private func checkLoads(of request: Report) throws(ControlError) {
        guard let loads = request.sample.expertLoads, let model = runs[request.run]?.model else { return }
        guard request.rank == 0 else {
            throw ControlError(
                .badRequest, "sample.expert_loads came from rank \(request.rank); rank 0 sends them, for all ranks")
        }
        guard loads.map(\.count) == model.layers.map(\.count) else {
            throw ControlError(
                .badRequest,
                "sample.expert_loads does not have the layers and experts that run \(request.run) was registered with")
        }
    }
}

extension ControlError {
    public static func unknownRun(_ run: String) -> ControlError {
        ControlError(.unknownRun, "run \(run) is not known; see moe-ctl run list")
    }
}
