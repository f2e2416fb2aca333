import Configuration
import Foundation
import Yams

/// A YAML file: a mapping from names of flags to values.
struct FileSource: SettingsSource {
    let path: String
    private let snapshot: YAMLSnapshot
    private let keys: [String]

    /// - Throws: `SettingsError.unreadable`.
    init(path: String) throws(SettingsError) {
        self.path = path
        do {
            let data = try Data(contentsOf: URL(fileURLWithPath: path))
            guard let node = try Yams.compose(yaml: String(decoding: data, as: UTF8.self)) else {
                // A file of comments alone sets nothing.
                keys = []
                snapshot = try YAMLSnapshot(data: Data("{}".utf8).bytes, providerName: path, parsingOptions: .default)
                return
            }
            guard let mapping = node.mapping else {
                throw SettingsError.unreadable(file: path, reason: "expected lines of the form \"key: value\"")
            }
            keys = mapping.keys.map { $0.string ?? "" }
            snapshot = try YAMLSnapshot(data: data.bytes, providerName: path, parsingOptions: .default)
        } catch let error as SettingsError {
            throw error
        } catch let error as YamlError {
            throw .unreadable(file: path, reason: "it is not YAML: \(error)")
        } catch {
            throw .unreadable(file: path, reason: (error as NSError).localizedDescription)
        }
    }

    /// - Parameter sections: keys that are no options; the command reads them itself.
    /// - Throws: `SettingsError.unknownKey`, with the most alike of the known ones.
    func rejectUnknownKeys(known: [String], sections: [String]) throws(SettingsError) {
        // A configuration file cannot name another one.
        let known = known.filter { $0 != CommandDescription.configurationKey } + sections
        for key in keys where !known.contains(key) {
            throw .unknownKey(file: path, key: key, nearest: nearest(to: key, among: known))
        }
    }

    func setting(for option: CommandDescription.Option) throws(SettingsError) -> Setting? {
        guard keys.contains(option.key) else { return nil }
        let key = AbsoluteConfigKey([option.key])
        let result: LookupResult?
        if let single = try? snapshot.value(forKey: key, type: .string) {
            result = single
        } else {
            result = try? snapshot.value(forKey: key, type: .stringArray)
        }
        switch result?.value?.content {
        case .string(let value): return try option.setting([value], source: path)
        case .stringArray(let values): return try option.setting(values, source: path)
        default:
            throw .invalidValue(source: path, key: option.key, reason: "expected a value, not a mapping")
        }
    }
}
