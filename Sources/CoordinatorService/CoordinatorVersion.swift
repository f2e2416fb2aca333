import BuildInformation
import ControlProtocol
import GRDB

/// What this coordinator is, for operators and monitoring.
public struct CoordinatorVersion: Encodable, Hashable, Sendable {
    public static let current = CoordinatorVersion()

    public let version = BuildInformation.version
    /// Of the source that was built; nil when it was not built from a repository.
    public let commit = BuildInformation.commit
    public let protocolVersion = ControlProtocolVersion.current
    /// The number of the database's newest schema.
    public let schemaVersion = CoordinatorStore.migrator.migrations.count

    enum CodingKeys: String, CodingKey {
        case version, commit
        case protocolVersion = "protocol_version"
        case schemaVersion = "schema_version"
    }
}
