import Foundation
import Yams

extension PlanningConfiguration {
    /// The keys of a configuration file that are read here. Others are the names of flags.
    public static let fileKeys = ["allocators", "planning"]

    /// Reads the part of a YAML file that is about planning.
    /// - Throws: `PlanningConfigurationError` naming the file, what is wrong and what may stand there.
    public init(file path: String) throws(PlanningConfigurationError) {
        do {
            let text = String(decoding: try Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self)
            let root = try Yams.compose(yaml: text)?.mapping
            self.init()
            if let node = root?["planning"] { options = try Self.decode(Options.self, node, at: "planning") }
            if let steps = options.intervalSteps, !(1...1_000_000).contains(steps) {
                throw Reason("planning.interval_steps is \(steps), but must be from 1 to 1000000")
            }
            guard let node = root?["allocators"] else { return }
            guard let entries = node.mapping else {
                throw Reason("allocators: expected lines of the form \"alias: …\"")
            }
            for (key, node) in entries {
                let alias = key.string ?? ""
                guard Self.isAlias(alias) else {
                    throw Reason("allocators: \"\(alias)\" is no alias: use 1 to 64 letters, digits and . _ -")
                }
                let program = try Self.decode(ProgramConfiguration.self, node, at: "allocators.\(alias)")
                try Self.check(program, at: "allocators.\(alias)")
                programs[alias] = program
            }
        } catch {
            throw PlanningConfigurationError(description: "cannot use the configuration file \(path): \(error)")
        }
    }

    private struct Reason: Error, CustomStringConvertible {
        let description: String
        init(_ description: String) { self.description = description }
    }

    private static func isAlias(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte | 0x20 || UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte
                    || Array("._-".utf8).contains(byte)
            }
    }

    private static func check(_ program: ProgramConfiguration, at place: String) throws {
        guard program.command.first?.isEmpty == false, !program.command.contains(where: { $0.contains("\0") }) else {
            throw Reason("\(place).command must be a list of the program and its arguments, as [python3, policy.py]")
        }
        if let seconds = program.timeLimitSeconds, !ProgramConfiguration.timeLimits.contains(seconds) {
            let range = ProgramConfiguration.timeLimits
            throw Reason(
                "\(place).time_limit_seconds is \(seconds), but must be from \(range.lowerBound) to "
                    + "\(range.upperBound)")
        }
    }

    private static func decode<Value: Decodable & HasKeys>(
        _: Value.Type, _ node: Node, at place: String
    ) throws -> Value {
        guard let mapping = node.mapping else { throw Reason("\(place): expected lines of the form \"key: value\"") }
        for key in mapping.keys where !Value.keys.contains(key.string ?? "") {
            throw Reason(
                "\(place): unknown key \"\(key.string ?? "")\"; known are \(Value.keys.joined(separator: ", "))")
        }
        do {
            return try YAMLDecoder().decode(Value.self, from: node)
        } catch DecodingError.keyNotFound(let key, _) {
            throw Reason("\(place): \(key.stringValue) is missing")
        } catch DecodingError.typeMismatch(_, let context) {
            let key = context.codingPath.map(\.stringValue).joined(separator: ".")
            throw Reason("\(place).\(key): \(context.debugDescription)")
        }
    }
}

/// What is wrong with the configuration file.
public struct PlanningConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    public let description: String
}

/// A value whose keys in a file are all known.
private protocol HasKeys {
    static var keys: [String] { get }
}

extension PlanningConfiguration.Options: HasKeys {
    static var keys: [String] { CodingKeys.allCases.map(\.rawValue) }
}

extension ProgramConfiguration: HasKeys {
    static var keys: [String] { CodingKeys.allCases.map(\.rawValue) }
}
