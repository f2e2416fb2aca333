/// What a connection may ask for. Its key decides.
public enum ControlRole: String, Hashable, Sendable, CaseIterable {
    /// Trains: registers, reports, and follows plans.
    case worker
    /// Decides: proposes plans, controls the planner, puts runs away and makes backups.
    case `operator`
}

extension AnyRequest {
    /// Who may send it. Both may read.
    public var roles: Set<ControlRole> {
        switch self {
        case .registerRun, .registerWorker, .report, .reports, .finishRun, .pollPlan, .planProgress,
            .recordCheckpoint, .joinWorld, .openWorld:
            [.worker]
        case .proposePlacement, .controlPlanning, .archiveRun, .deleteRun, .backUpDatabase: [.operator]
        case .listRuns, .showRun, .showPlacement, .listWorkers, .listPlans, .listCheckpoints, .listIntervals,
            .listLoads, .showTimings, .listEvents:
            [.worker, .operator]
        }
    }

    /// - Throws: `forbidden`.
    package func permit(_ granted: Set<ControlRole>) throws(ControlError) {
        guard roles.isDisjoint(with: granted) else { return }
        let needed = roles.map { "\($0.rawValue)s" }.sorted().joined(separator: " and ")
        throw ControlError(
            .forbidden,
            "\(type(of: message).type) is for \(needed), and this connection's key is not theirs; name the key file of "
                + "the \(needed) with --key-file")
    }
}
