import Foundation

/// A JSON value, so that an error can show what a field holds instead of what it should.
package enum ConfigurationValue: Decodable, Equatable, CustomStringConvertible {
    case null
    case boolean(Bool)
    case integer(Int)
    case number(Double)
    case string(String)
    case array([ConfigurationValue])
    case object([String: ConfigurationValue])

    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {
            self = .boolean(value)
        } else if let value = try? container.decode(Int.self) {
            self = .integer(value)
        } else if let value = try? container.decode(Double.self) {
            self = .number(value)
        } else if let value = try? container.decode(String.self) {
            self = .string(value)
        } else if let value = try? container.decode([ConfigurationValue].self) {
            self = .array(value)
        } else {
            self = .object(try container.decode([String: ConfigurationValue].self))
        }
    }

    /// The value as a person reads it, cut short.
    package var description: String {
        let text =
            switch self {
            case .null: "null"
            case .boolean(let value): "\(value)"
            case .integer(let value): "\(value)"
            case .number(let value): "\(value)"
            case .string(let value): "\"\(value)\""
            case .array(let values): "[\(values.prefix(8).map(\.description).joined(separator: ", "))]"
            case .object(let fields):
                "{\(fields.sorted { $0.key < $1.key }.prefix(8).map { "\"\($0)\": \($1)" }.joined(separator: ", "))}"
            }
        return text.count > 200 ? "\(text.prefix(200))…" : text
    }
}

/// The fields of a `config.json`, read with their names at hand.
package struct ConfigurationFields {
    package let values: [String: ConfigurationValue]
    /// In front of names: empty, or the object that holds them and a dot.
    private let prefix: String

    init(_ values: [String: ConfigurationValue], prefix: String = "") {
        self.values = values
        self.prefix = prefix
    }

    /// Reads the contents of a `config.json`.
    /// - Throws: `MixtralConfigurationError` when it holds no JSON object.
    package init(json: Data) throws(MixtralConfigurationError) {
        guard json.count <= MixtralLimits.fileSizeBytes else {
            throw .malformed(reason: "it has \(json.count) bytes, more than \(MixtralLimits.fileSizeBytes)")
        }
        let value: ConfigurationValue
        do {
            value = try JSONDecoder().decode(ConfigurationValue.self, from: json)
        } catch {
            throw .malformed(reason: "it is not valid JSON")
        }
        guard case .object(let values) = value else { throw .malformed(reason: "it holds no JSON object") }
        self.init(values)
    }

    /// Absent fields and those that are null count as `.null`.
    package subscript(name: String) -> ConfigurationValue { values[name] ?? .null }

    func contains(_ name: String) -> Bool { values[name] != nil }

    /// The whole number called `name`; `absent` when there is none, or an error when it must be there.
    package func integer(
        _ name: String, _ range: ClosedRange<Int>, absent: Int? = nil
    ) throws(MixtralConfigurationError) -> Int {
        if let value = try optionalInteger(name, range) ?? absent { return value }
        throw .missing(prefix + name, expected: Self.text(range))
    }

    /// The whole number called `name`; nil when it is absent or null.
    func optionalInteger(_ name: String, _ range: ClosedRange<Int>) throws(MixtralConfigurationError) -> Int? {
        switch self[name] {
        case .null: return nil
        case .integer(let value) where range.contains(value): return value
        case let value: throw unsupported(name, value, Self.text(range))
        }
    }

    /// The number called `name`, in `range`; `absent` when there is none.
    func number(
        _ name: String, _ range: ClosedRange<Double>, absent: Double
    ) throws(MixtralConfigurationError) -> Double {
        let value: Double
        switch self[name] {
        case .null: return absent
        case .integer(let whole): value = Double(whole)
        case .number(let real): value = real
        case let other: throw unsupported(name, other, Self.text(range))
        }
        guard range.contains(value) else { throw unsupported(name, self[name], Self.text(range)) }
        return value
    }

    func boolean(_ name: String, absent: Bool) throws(MixtralConfigurationError) -> Bool {
        switch self[name] {
        case .null: return absent
        case .boolean(let value): return value
        case let value: throw unsupported(name, value, "true or false")
        }
    }

    /// Fails unless `name` is absent, null or one of `values`.
    package func allow(_ name: String, _ values: [ConfigurationValue], _ expected: String)
        throws(MixtralConfigurationError)
    {
        if self[name] != .null && !values.contains(self[name]) { throw unsupported(name, self[name], expected) }
    }

    /// The fields of the object called `name`; nil when it is absent or null.
    package func object(_ name: String) throws(MixtralConfigurationError) -> ConfigurationFields? {
        switch self[name] {
        case .null: return nil
        case .object(let fields): return ConfigurationFields(fields, prefix: "\(prefix)\(name).")
        case let value: throw unsupported(name, value, "an object or null")
        }
    }

    func unsupported(_ name: String, _ found: ConfigurationValue, _ expected: String) -> MixtralConfigurationError {
        .unsupported(prefix + name, found: "\(found)", expected: expected)
    }

    private static func text(_ range: ClosedRange<Int>) -> String {
        "a whole number from \(range.lowerBound) to \(range.upperBound)"
    }

    private static func text(_ range: ClosedRange<Double>) -> String {
        "a number from \(range.lowerBound) to \(range.upperBound)"
    }
}
