import ArgumentParser
import Files
import Foundation
import Yams

/// How a listing is written.
package enum OutputFormat: String, ExpressibleByArgument, CaseIterable, Sendable {
    /// For people: aligned columns, times and sizes rounded.
    case table
    /// For programs: exact, as the control protocol has them.
    case json, yaml
}

/// What listings of the programs have in common.
package struct ListingOptions: ParsableArguments, Sendable {
    @Option(name: [.customShort("o"), .customLong("format")], help: "Form of the output.")
    package var format = OutputFormat.table

    package init() {}

    /// Writes `value` to stdout as JSON or YAML, or else the tables.
    /// - Throws: `FileError` when it does not arrive there.
    package func write(_ value: some Encodable, tables: () -> [Table]) throws {
        try StandardOutput.write(try text(of: value, tables: tables))
    }

    /// `value` as JSON or YAML, or else the tables; whole lines.
    package func text(of value: some Encodable, tables: () -> [Table]) throws -> String {
        switch format {
        case .table:
            return tables().map(\.text).joined(separator: "\n")
        case .json:
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            return String(decoding: try encoder.encode(value), as: UTF8.self) + "\n"
        case .yaml:
            // As nodes, to mend the numbers on the way.
            let node = try Yams.compose(yaml: YAMLEncoder().encode(value))?.withDecimalNumbers
            return try Yams.serialize(node: node ?? Node([(Node, Node)]()), allowUnicode: true, sortKeys: true)
        }
    }
}

extension Node {
    /// With 0.1 as `0.1`, where Yams writes `1e-1`: correct, but readers of YAML 1.1, such as PyYAML, take that for a text.
    fileprivate var withDecimalNumbers: Node {
        switch self {
        case .scalar(var scalar):
            guard scalar.style == .plain, scalar.string.contains("e"),
                scalar.string.allSatisfy({ "0123456789+-.e".contains($0) }), let number = Double(scalar.string)
            else { return self }
            scalar.string = "\(number)".contains(".") ? "\(number)" : "\(number)".replacing("e", with: ".0e")
            return .scalar(scalar)
        case .sequence(var sequence):
            for index in sequence.indices { sequence[index] = sequence[index].withDecimalNumbers }
            return .sequence(sequence)
        case .mapping(var mapping):
            for key in mapping.keys { mapping[key] = mapping[key]?.withDecimalNumbers }
            return .mapping(mapping)
        case .alias: return self
        }
    }
}
