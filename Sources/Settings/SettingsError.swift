/// What can be wrong with settings that come from the environment or a configuration file.
public enum SettingsError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The configuration file cannot be read or is not YAML with one value a key.
    case unreadable(file: String, reason: String)
    /// The file sets something that the command does not know.
    case unknownKey(file: String, key: String, nearest: String?)
    /// A value is not what the flag of that name takes.
    /// - `source`: the file or environment variable that has it.
    case invalidValue(source: String, key: String, reason: String)

    public var description: String {
        switch self {
        case .unreadable(let file, let reason): "cannot use the configuration file \(file): \(reason)"
        case .unknownKey(let file, let key, let nearest):
            "\(file): unknown key \"\(key)\"" + (nearest.map { "; did you mean \"\($0)\"?" } ?? ".")
                + " Keys are the names of the command's flags, see --help."
        case .invalidValue(let source, let key, let reason): "\(source), \(key): \(reason)"
        }
    }
}
