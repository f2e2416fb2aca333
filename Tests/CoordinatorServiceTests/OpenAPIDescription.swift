import ControlTestSupport
import CoordinatorService
import Foundation

/// The description of the API (OpenAPI 3.1), made of its endpoints and of the schemas of the control protocol.
struct OpenAPIDescription {
    /// As `schemas/openapi.json` has it.
    let text: String

    init() throws {
        var components = [String: JSONValue]()
        let replies = APIEndpoint.all.map(\.reply) + ["error"]
        for reply in replies { try Self.add(reply, to: &components) }
        var paths = [String: JSONValue]()
        for endpoint in APIEndpoint.all {
            paths[endpoint.path] = ["get": Self.operation(endpoint)]
        }
        let document: JSONValue = [
            "openapi": "3.1.1",
            "info": [
                "title": "moe-coordinator", "version": "1",
                "license": ["name": "Apache-2.0", "identifier": "Apache-2.0"],
                "description":
                    "What a coordinator knows of its runs: the answers of the control protocol, without request_id. Nothing can be changed.",
            ],
            "servers": [["url": "http://127.0.0.1:7780"]],
            "security": [[:], ["token": []]],
            "paths": .object(paths),
            "components": [
                "schemas": .object(components),
                "responses": ["error": Self.response("It is refused; the code says why.", "error")],
                "securitySchemes": [
                    "token": [
                        "type": "http", "scheme": "bearer",
                        "description": "Needed when the coordinator was started with --http-token-file.",
                    ]
                ],
            ],
        ]
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        text = String(decoding: try encoder.encode(document), as: UTF8.self) + "\n"
    }

    private static func operation(_ endpoint: APIEndpoint) -> JSONValue {
        var parameters = endpoint.parameters.map { parameter -> JSONValue in
            let schema: JSONValue =
                switch parameter.kind {
                case .integer(let minimum):
                    ["type": "integer", "minimum": .integer(minimum), "maximum": .integer(1 << 53)]
                case .flag: ["type": "boolean"]
                }
            return [
                "name": .string(parameter.name), "in": "query", "description": .string(parameter.description),
                "schema": schema,
            ]
        }
        if endpoint.path.contains("{run}") {
            parameters.insert(
                [
                    "name": "run", "in": "path", "required": true, "description": "Its name.",
                    "schema": ["type": "string"],
                ], at: 0)
        }
        var responses: [String: JSONValue] = [
            "200": endpoint.isLive ? events(endpoint.reply) : response(endpoint.summary, endpoint.reply)
        ]
        for status in ["400", "401", "404", "405", "421", "431", "503"] {
            responses[status] = ["$ref": "#/components/responses/error"]
        }
        return [
            "summary": .string(endpoint.summary),
            "operationId": .string(endpoint.isLive ? endpoint.reply + "s" : endpoint.reply),
            "parameters": .array(parameters), "responses": .object(responses),
        ]
    }

    private static func response(_ description: String, _ schema: String) -> JSONValue {
        [
            "description": .string(description),
            "content": ["application/json": ["schema": ["$ref": .string("#/components/schemas/\(schema)")]]],
        ]
    }

    private static func events(_ schema: String) -> JSONValue {
        [
            "description":
                "Server-sent events named change: one at once, then at most one a second when something has changed, and comments when nothing has.",
            "content": [
                "text/event-stream": [
                    "schema": ["type": "string"],
                    "x-event-data": ["$ref": .string("#/components/schemas/\(schema)")],
                ]
            ],
        ]
    }

    /// Adds the schema of that name, and those it refers to.
    private static func add(_ name: String, to components: inout [String: JSONValue]) throws {
        guard components[name] == nil else { return }
        var schema = try JSONValue(Data(contentsOf: Repository.schemas.appending(path: name + ".json")))
        schema["$schema"] = nil
        schema["$id"] = nil
        if case .object(var properties)? = schema["properties"], case .array(let required)? = schema["required"] {
            // Connections are for one question.
            properties["request_id"] = nil
            schema["properties"] = .object(properties)
            schema["required"] = .array(required.filter { $0 != "request_id" })
        }
        var names = [String]()
        components[name] = localized(schema, &names)
        for name in names { try add(name, to: &components) }
    }

    /// `value` with references to other schemas of the same document.
    private static func localized(_ value: JSONValue, _ names: inout [String]) -> JSONValue {
        switch value {
        case .array(let items): return .array(items.map { localized($0, &names) })
        case .object(let fields):
            var fields = fields.mapValues { localized($0, &names) }
            if let file = fields["$ref"]?.text, file.hasSuffix(".json") {
                let name = String(file.dropLast(".json".count))
                names.append(name)
                fields["$ref"] = .string("#/components/schemas/\(name)")
            }
            return .object(fields)
        default: return value
        }
    }
}
