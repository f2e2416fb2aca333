import ControlProtocol

/// Fresh keys in files, gone with the value.
public final class KeyFolder: Sendable {
    private let folder: TemporaryFolder

    public init() throws { folder = try TemporaryFolder() }

    /// The path of a key file, which is made when it is not there.
    public func file(_ name: String) throws -> String {
        let path = folder.path(name)
        if (try? ControlKey(file: path)) == nil { try ControlKey.generate(file: path) }
        return path
    }

    public func key(_ name: String) throws -> ControlKey { try ControlKey(file: file(name)) }

    public func accepted(_ names: [String], operators: [String] = []) throws -> AcceptedKeys {
        try AcceptedKeys(files: names.map(file), operatorFiles: operators.map(file))
    }
}
