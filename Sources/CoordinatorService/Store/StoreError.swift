import GRDB

/// Why the database cannot be used.
public struct StoreError: Error, Hashable, Sendable, CustomStringConvertible {
    public struct Code: RawRepresentable, Hashable, Sendable {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }

        /// Another process has it.
        public static let locked = Code(rawValue: "locked")
        /// The file is something else.
        public static let foreign = Code(rawValue: "foreign")
        /// A newer coordinator wrote it.
        public static let newer = Code(rawValue: "newer")
        /// It has to be restored first.
        public static let backup = Code(rawValue: "backup")
        /// There is a file where one should be made.
        public static let exists = Code(rawValue: "exists")
        public static let damaged = Code(rawValue: "damaged")
        /// The file cannot be opened or written.
        public static let unwritable = Code(rawValue: "unwritable")
        /// It cannot be made to keep what it acknowledges.
        public static let notDurable = Code(rawValue: "not_durable")
        public static let failed = Code(rawValue: "failed")
    }

    public let code: Code
    public let description: String

    init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }

    /// What SQLite or GRDB found on opening the file at `path`.
    static func opening(_ path: String, _ error: any Error) -> StoreError {
        if let error = error as? StoreError { return error }
        switch (error as? DatabaseError)?.resultCode {
        case .SQLITE_BUSY, .SQLITE_LOCKED:
            return StoreError(
                .locked,
                "the database \(path) is in use by another process, perhaps another coordinator; end that first")
        case .SQLITE_NOTADB:
            return StoreError(.foreign, "\(path) is not a database; name another file, or a new one")
        case .SQLITE_CORRUPT:
            return StoreError(.damaged, "the database \(path) is damaged (\(reason(error))); restore a copy of it")
        case .SQLITE_CANTOPEN, .SQLITE_READONLY, .SQLITE_PERM:
            return StoreError(
                .unwritable,
                "the database \(path) cannot be written (\(reason(error))); the folder must exist and be writable too")
        default:
            return StoreError(.failed, "the database \(path) cannot be opened: \(reason(error))")
        }
    }

    /// SQLite's own words, without the statement that failed.
    static func reason(_ error: any Error) -> String {
        guard let error = error as? DatabaseError else { return "\(error)" }
        return error.message ?? error.resultCode.description
    }
}
