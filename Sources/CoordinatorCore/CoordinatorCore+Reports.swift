import ControlProtocol
import ExpertPlacement

extension CoordinatorCore {
    /// Reports between two deletions of old ones, so that not every report pays for one.
    static let reportsPerDrop = 256

    /// Applies reports of one rank, in the order of their sequences. All of them, or throws.
    mutating func apply(
        _ reports: some Collection<Report>, at time: Timestamp
    ) throws(ControlError) -> (changes: [Change], answer: Answer) {
        guard let first = reports.first else { throw ControlError(.badRequest, "there is no report") }
        let (run, rank) = (first.run, first.rank)
        try requireCurrent(run, incarnation: first.incarnation)
        guard var window = runs[run]?.workers[rank]?.reports, var number = runs[run]?.reportCount else {
            throw ControlError(
                .unknownWorker,
                "rank \(rank) of run \(run) reports, but did not register in incarnation \(first.incarnation)")
        }
        var changes: [Change] = []
        var revision = 0
        var sequence = 0
        for report in reports {
            sequence = report.sequence
            try checkLoads(of: report)
            try checkRevision(report.sample.planRevision, of: run)
            switch window.verdict(on: sequence) {
            case .repeated: continue
            case .tooOld:
                throw ControlError(
                    .staleSequence,
                    "report \(sequence) of rank \(rank) is more than \(SequenceWindow.size) behind "
                        + "\(window.highest): whether it was applied is not known any more")
            case .new: window.apply(sequence)
            }
            number += 1
            revision = max(revision, report.sample.planRevision)
            changes.append(.addReport(report, number: number, window: window, at: time))
            let oldest = number - limits.storedReportsPerRun + 1
            if number % Self.reportsPerDrop == 0, oldest > 1 { changes.append(.dropReports(run: run, below: oldest)) }
        }
        runs[run]?.workers[rank]?.reports = window
        runs[run]?.reportCount = number
        return (changes + raiseRevision(to: revision, of: run), .acknowledged(Acknowledged(sequence: sequence)))
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
