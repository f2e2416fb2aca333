/// An operator hides a run that has ended from listings. All of it stays; a further start brings it back.
public struct ArchiveRun: ControlRequest {
    public static let type = "archive_run"
    public typealias Reply = RunArchived

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

public struct RunArchived: ControlMessage {
    public static let type = "run_archived"

    public var run: String
    /// When it was archived first.
    public var archivedAt: Timestamp

    public init(run: String, archivedAt: Timestamp) {
        self.run = run
        self.archivedAt = archivedAt
    }

    private enum CodingKeys: String, CodingKey {
        case run
        case archivedAt = "archived_at"
    }
}
