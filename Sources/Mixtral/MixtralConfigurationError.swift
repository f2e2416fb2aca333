/// Why a `config.json` cannot be used.
public struct MixtralConfigurationError: Error, Equatable, CustomStringConvertible {
    public enum Code: Sendable, Equatable {
        /// The file cannot be read.
        case unreadable
        /// The file is not a JSON object.
        case malformed
        /// A field that has no default is absent.
        case missing
        /// A field has a value outside what this program supports.
        case unsupported
    }

    public let code: Code
    /// The name in the file, for example `num_attention_heads`.
    public let field: String?
    /// What stands there.
    public let found: String
    /// What could stand there, or the reason.
    public let expected: String
    public let file: String?

    private init(code: Code, field: String?, found: String, expected: String, file: String? = nil) {
        self.code = code
        self.field = field
        self.found = found
        self.expected = expected
        self.file = file
    }

    package static func unreadable(reason: String) -> Self {
        Self(code: .unreadable, field: nil, found: "", expected: reason)
    }

    static func malformed(reason: String) -> Self {
        Self(code: .malformed, field: nil, found: "", expected: reason)
    }

    package static func missing(_ field: String, expected: String) -> Self {
        Self(code: .missing, field: field, found: "nothing", expected: expected)
    }

    static func unsupported(_ field: String, found: String, expected: String) -> Self {
        Self(code: .unsupported, field: field, found: found, expected: expected)
    }

    package func inFile(_ file: String) -> Self {
        Self(code: code, field: field, found: found, expected: expected, file: file)
    }

    public var description: String {
        let place = file.map { "\($0): " } ?? "model configuration: "
        return switch code {
        case .unreadable: "\(place)cannot be read: \(expected)"
        case .malformed: "\(place)is not a Hugging Face config.json: \(expected)"
        case .missing: "\(place)\(field ?? "a field") is missing; it must be \(expected)"
        case .unsupported: "\(place)\(field ?? "a field") is \(found); it must be \(expected)"
        }
    }
}
