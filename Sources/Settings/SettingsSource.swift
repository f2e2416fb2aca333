import Configuration

/// A place where options can be set.
protocol SettingsSource {
    /// What is set for `option`; nil when nothing is.
    func setting(for option: CommandDescription.Option) throws(SettingsError) -> Setting?
}

extension CommandDescription.Option {
    /// `values` as arguments for this option.
    /// - Throws: `SettingsError.invalidValue` when they are not what it takes.
    func setting(_ values: [String], source: String) throws(SettingsError) -> Setting {
        guard isFlag else {
            guard isRepeating || values.count == 1 else {
                throw .invalidValue(source: source, key: key, reason: "expected one value, not a list")
            }
            // With "=" a value may start with a dash.
            return Setting(key: key, arguments: values.map { "--\(key)=\($0)" }, source: source)
        }
        switch values.first?.lowercased() {
        case "true", "yes", "1": return Setting(key: key, arguments: ["--" + key], source: source)
        case "false", "no", "0": return Setting(key: key, arguments: negation.map { [$0] } ?? [], source: source)
        default:
            throw .invalidValue(
                source: source, key: key,
                reason: "expected true or false, not \"\(values.joined(separator: ", "))\"")
        }
    }
}

/// `MOE_…` variables: `learning-rate` is `MOE_LEARNING_RATE`. Others are none of this program's business, and an
/// empty one says nothing: a variable that is left empty by oversight takes nobody's token away that the file names.
struct EnvironmentSource: SettingsSource {
    private let provider: EnvironmentVariablesProvider

    init(_ environment: [String: String]) {
        provider = EnvironmentVariablesProvider(environmentVariables: environment)
    }

    func setting(for option: CommandDescription.Option) throws(SettingsError) -> Setting? {
        let key = AbsoluteConfigKey(["moe", option.key])
        guard let result = try? provider.value(forKey: key, type: .string),
            case .string(let value)? = result.value?.content, !value.isEmpty
        else { return nil }
        return try option.setting([value], source: "environment variable \(result.encodedKey)")
    }
}
