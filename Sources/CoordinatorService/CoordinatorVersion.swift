import CBuildInformation
import ControlProtocol
import GRDB

/// What this coordinator is, for operators and monitoring.
public struct CoordinatorVersion: Encodable, Hashable, Sendable {
    /// See CHANGELOG.md.
    public static let number = "0.1.0"

    public static let current = CoordinatorVersion()

    public let version = Self.number
    /// Of the source that was built; nil when it was not built from a repository.
    public let commit: String? = {
        let commit = String(cString: moe_source_commit())
        return commit.isEmpty ? nil : commit
    }()
    public let protocolVersion = ControlProtocolVersion.current
    /// The number of the database's newest schema.
    public let schemaVersion = CoordinatorStore.migrator.migrations.count

    enum CodingKeys: String, CodingKey {
        case version, commit
        case protocolVersion = "protocol_version"
        case schemaVersion = "schema_version"
    }
}
