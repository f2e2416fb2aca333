import CBuildInformation

/// What was built, of all programs alike.
public enum BuildInformation {
    /// See CHANGELOG.md.
    public static let version = "0.1.0"

    /// The commit of the source; nil when it was not built from a repository.
    public static let commit: String? = {
        let commit = String(cString: moe_source_commit())
        return commit.isEmpty ? nil : commit
    }()
}
