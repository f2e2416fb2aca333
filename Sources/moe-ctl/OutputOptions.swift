import ArgumentParser
import Foundation
import Yams

enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
    /// For people: aligned columns, times and sizes rounded.
    case table
    /// For programs: exact, as the control protocol has them.
    case json, yaml
}

struct OutputOptions: ParsableArguments {
    @Option(name: [.customShort("o"), .customLong("format")], help: "Form of the output.")
    var format = OutputFormat.table

    /// Writes `value` to stdout as JSON or YAML, or else the tables.
    func write(_ value: some Encodable, tables: () -> [Table]) throws {
        switch format {
        case .table:
            print(tables().map(\.text).joined(separator: "\n"), terminator: "")
        case .json:
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            print(String(decoding: try encoder.encode(value), as: UTF8.self))
        case .yaml:
            let encoder = YAMLEncoder()
            encoder.options.sortKeys = true
            encoder.options.allowUnicode = true
            print(try encoder.encode(value), terminator: "")
        }
    }
}
