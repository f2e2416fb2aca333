import Foundation

/// Validates JSON against the schemas in `schemas/`: the part of JSON Schema (draft 2020-12) that they use. A keyword outside
/// it is an error, so that no schema says something that nobody checks.
public struct SchemaValidator: Sendable {
    public struct UnsupportedKeyword: Error { public let keyword: String }

    private static let annotations: Set<String> = ["$schema", "$id", "title", "description"]

    private let schemas: [String: JSONValue]

    /// Reads all schemas of the repository.
    public init() throws {
        var schemas = [String: JSONValue]()
        for file in try FileManager.default.contentsOfDirectory(at: Repository.schemas, includingPropertiesForKeys: nil)
        where file.pathExtension == "json" {
            schemas[file.lastPathComponent] = try JSONValue(Data(contentsOf: file))
        }
        self.schemas = schemas
    }

    public var names: [String] { schemas.keys.map { String($0.dropLast(".json".count)) }.sorted() }

    /// What is wrong with `value`; empty when nothing is. A message is validated against the schema of its type.
    public func problems(ofMessage value: JSONValue) throws -> [String] {
        guard let type = value["type"]?.text else { return ["the message has no type"] }
        return try problems(of: value, schema: type)
    }

    /// - Parameter name: of a file in `schemas/`, without its ending.
    public func problems(of value: JSONValue, schema name: String) throws -> [String] {
        guard let schema = schemas[name + ".json"] else { return ["there is no schema \(name)"] }
        return try problems(value, schema, at: name)
    }

    private func problems(_ value: JSONValue, _ schema: JSONValue, at path: String) throws -> [String] {
        guard case .object(let keywords) = schema else {
            throw UnsupportedKeyword(keyword: "a schema that is no object")
        }
        var problems = [String]()
        for (keyword, argument) in keywords.sorted(by: { $0.key < $1.key })
        where !Self.annotations.contains(keyword) {
            problems += try check(keyword, argument, value, keywords, at: path)
        }
        return problems
    }

    private func check(
        _ keyword: String, _ argument: JSONValue, _ value: JSONValue, _ schema: [String: JSONValue], at path: String
    ) throws -> [String] {
        func require(_ isMet: Bool) -> [String] { isMet ? [] : ["\(path): \(keyword)"] }
        switch (keyword, argument, value) {
        case ("$ref", .string(let name), _):
            guard let target = schemas[name] else { return ["\(path): there is no schema \(name)"] }
            return try problems(value, target, at: path)
        case ("type", .string(let type), _): return require(Self.value(value, isOf: type))
        case ("const", _, _): return require(value == argument)
        case ("enum", .array(let values), _): return require(values.contains(value))
        case ("oneOf", .array(let choices), _):
            return require(try choices.count { try problems(value, $0, at: path).isEmpty } == 1)
        case ("minimum", _, _): return require(value.number.map { $0 >= argument.number ?? .nan } ?? true)
        case ("maximum", _, _): return require(value.number.map { $0 <= argument.number ?? .nan } ?? true)
        case ("minLength", .integer(let limit), .string(let text)):
            return require(text.unicodeScalars.count >= limit)
        case ("maxLength", .integer(let limit), .string(let text)):
            return require(text.unicodeScalars.count <= limit)
        case ("pattern", .string(let pattern), .string(let text)):
            return require(try Regex(pattern).firstMatch(in: text) != nil)
        case ("minItems", .integer(let limit), .array(let items)): return require(items.count >= limit)
        case ("maxItems", .integer(let limit), .array(let items)): return require(items.count <= limit)
        case ("items", _, .array(let items)):
            return try items.enumerated().flatMap { try problems($1, argument, at: "\(path)[\($0)]") }
        case ("required", .array(let names), .object(let fields)):
            return names.compactMap(\.text).filter { fields[$0] == nil }.map { "\(path): \($0) is missing" }
        case ("properties", .object(let properties), .object(let fields)):
            return try properties.sorted { $0.key < $1.key }.flatMap { name, schema in
                try fields[name].map { try problems($0, schema, at: "\(path).\(name)") } ?? []
            }
        case ("additionalProperties", _, .object(let fields)):
            let known: [String: JSONValue] =
                if case .object(let properties)? = schema["properties"] { properties } else { [:] }
            return try fields.filter { known[$0.key] == nil }.sorted { $0.key < $1.key }.flatMap { name, field in
                argument == .bool(false)
                    ? ["\(path): \(name) is not known"] : try problems(field, argument, at: "\(path).\(name)")
            }
        case ("minLength", .integer, _), ("maxLength", .integer, _), ("pattern", .string, _), ("minItems", .integer, _),
            ("maxItems", .integer, _), ("items", _, _), ("required", .array, _), ("properties", .object, _),
            ("additionalProperties", _, _):
            // These say nothing about values of other types.
            return []
        default: throw UnsupportedKeyword(keyword: keyword)
        }
    }

    private static func value(_ value: JSONValue, isOf type: String) -> Bool {
        switch (type, value) {
        case ("object", .object), ("array", .array), ("string", .string), ("boolean", .bool), ("null", .null),
            ("integer", .integer), ("number", .integer), ("number", .number):
            true
        default: false
        }
    }
}
