extension ConfigurationValue {
    /// JSON with one field a line, sorted by name.
    package func json(indentation: Int = 0) -> String {
        switch self {
        case .null: "null"
        case .boolean(let value): "\(value)"
        case .integer(let value): "\(value)"
        // Swift prints a fraction or an exponent, and digits enough to read the same number back.
        case .number(let value): "\(value)"
        case .string(let value): Self.quoted(value)
        case .array(let values): "[\(values.map { $0.json(indentation: indentation) }.joined(separator: ", "))]"
        case .object(let fields): Self.json(fields, indentation: indentation)
        }
    }

    private static func json(_ fields: [String: ConfigurationValue], indentation: Int) -> String {
        let margin = String(repeating: " ", count: indentation)
        let lines = fields.sorted { $0.key < $1.key }.map { name, value in
            "\(margin)  \(quoted(name)): \(value.json(indentation: indentation + 2))"
        }
        return "{\n\(lines.joined(separator: ",\n"))\n\(margin)}"
    }

    private static func quoted(_ text: String) -> String {
        let escaped = text.unicodeScalars.map { scalar in
            if scalar == "\"" || scalar == "\\" { return "\\\(scalar)" }
            guard scalar.value < 0x20 else { return String(scalar) }
            return (scalar.value < 0x10 ? "\\u000" : "\\u00") + String(scalar.value, radix: 16)
        }
        return "\"\(escaped.joined())\""
    }
}
