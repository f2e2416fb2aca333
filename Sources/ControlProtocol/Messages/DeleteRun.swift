/// An operator deletes a run that has ended, with its plans, reports, loads and events. Its name may be used again; revisions
/// and incarnations go on where they were.
public struct DeleteRun: ControlRequest {
    public static let type = "delete_run"
    public typealias Reply = RunDeleted

    public var run: String
    /// Nothing is changed; the answer says what would be.
    public var dryRun: Bool
    public var who: String
    public var why: String

    public init(run: String, dryRun: Bool = false, who: String, why: String) {
        self.run = run
        self.dryRun = dryRun
        self.who = who
        self.why = why
    }

    private enum CodingKeys: String, CodingKey {
        case run, who, why
        case dryRun = "dry_run"
    }

    public func validate(within limits: Limits) throws(ControlError) {
        let check = Validation(limits: limits)
        try check.runName(run)
        try check.text(who, "who", bytes: limits.whoBytes)
        try check.text(why, "why", bytes: limits.reasonBytes)
    }
}

/// What was deleted with the run.
public struct RunDeleted: ControlMessage {
    public static let type = "run_deleted"

    public var run: String
    public var incarnations: Int
    public var plans: Int
    public var reports: Int
    /// Intervals with expert loads.
    public var loads: Int
    public var events: Int

    public init(run: String, incarnations: Int, plans: Int, reports: Int, loads: Int, events: Int) {
        self.run = run
        self.incarnations = incarnations
        self.plans = plans
        self.reports = reports
        self.loads = loads
        self.events = events
    }
}
