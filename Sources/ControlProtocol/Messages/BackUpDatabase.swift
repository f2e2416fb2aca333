/// An operator asks for a copy of the coordinator's database, in the directory that the coordinator's configuration names.
public struct BackUpDatabase: ControlRequest {
    public static let type = "back_up_database"
    public typealias Reply = DatabaseBackedUp

    /// The new file's name, without a directory.
    public var file: String
    /// Nothing is written; the answer says whether it could be.
    public var dryRun: Bool

    public init(file: String, dryRun: Bool = false) {
        self.file = file
        self.dryRun = dryRun
    }

    private enum CodingKeys: String, CodingKey {
        case file
        case dryRun = "dry_run"
    }

    public func validate(within limits: Limits) throws(ControlError) {
        try Validation(limits: limits).text(file, "file", bytes: limits.backupNameBytes)
        guard BackupName.isValid(file) else {
            throw ControlError(.badRequest, "file \"\(file)\": \(BackupName.rule)")
        }
    }
}

/// The copy is whole, checked and synced; its directory, too.
public struct DatabaseBackedUp: ControlMessage {
    public static let type = "database_backed_up"

    public var file: String
    /// Its size; nil after a dry run.
    public var bytes: Int?

    public init(file: String, bytes: Int?) {
        self.file = file
        self.bytes = bytes
    }
}

/// The rule for names of backups.
public enum BackupName {
    public static let rule =
        "a backup's name has letters, digits and . _ - : + @, begins with a letter or digit, and does not end with -wal, "
        + "-shm or -journal, which belong to databases"

    public static func isValid(_ name: String) -> Bool {
        RunName.isValid(name) && !["-wal", "-shm", "-journal"].contains { name.hasSuffix($0) }
    }
}
