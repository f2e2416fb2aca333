import ArgumentParser
import Foundation
import Settings
import Testing

/// Errors name the source, the key and what is expected.
@Suite struct SettingsErrorTests {
    @Test(arguments: [
        ("learning_rate: 1", "learning_rate", "learning-rate"),
        ("lerning-rate: 1", "lerning-rate", "learning-rate"),
        ("Steps: 1", "Steps", "steps"),
        ("colour: red", "colour", nil),
        ("no-shuffle: true", "no-shuffle", "shuffle"),
        ("config: other.yaml", "config", nil),
        ("learning:\n  rate: 1", "learning", nil),
    ])
    func unknownKeysNameTheNearest(text: String, key: String, nearest: String?) throws {
        // Also when something else is missing: the wrong key is the likely cause.
        let error = #expect(throws: SettingsError.self) { try parseTrain([], file: text) }
        guard case .unknownKey(let file, let found, let suggestion) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(file.hasSuffix(".yaml"))
        #expect(found == key)
        #expect(suggestion == nearest)
    }

    @Test(arguments: [
        ("steps: many", "steps", ["'many'", "'--steps", "Total number of training steps, an integer."]),
        ("steps: [1, 2]", "steps", ["expected one value, not a list"]),
        ("steps: {a: 1}", "steps", ["expected a value, not a mapping"]),
        ("{steps: 1, verbose: perhaps}", "verbose", ["expected true or false, not \"perhaps\""]),
        ("{steps: 1, data-order: shuffled}", "data-order", ["'shuffled'", "sequential"]),
        ("{steps: 1, learning-rate: -1}", "learning-rate", ["must not be negative"]),
    ])
    func wrongValuesNameFileAndKey(text: String, key: String, words: [String]) throws {
        let error = #expect(throws: SettingsError.self) { try parseTrain([], file: text) }
        guard case .invalidValue(let source, let found, let reason) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(source.hasSuffix(".yaml"))
        #expect(found == key)
        for word in words { #expect(reason.contains(word), "\(reason)") }
    }

    @Test func wrongVariablesAreNamed() throws {
        let error = #expect(throws: SettingsError.self) {
            try Settings.parse(Program.self, arguments: [], environment: ["MOE_STEPS": "many"])
        }
        #expect("\(try #require(error))".contains("environment variable MOE_STEPS"))
    }

    /// What the arguments say wrong is not blamed on a file.
    @Test func wrongArgumentsAreTheParsersBusiness() throws {
        let error = #expect(throws: (any Error).self) { try parseTrain(["--steps", "many"], file: "steps: 1") }
        #expect(!(error is SettingsError))
        #expect(error.map { Program.exitCode(for: $0) } == .validationFailure)
    }

    @Test(arguments: ["- a\n- b\n", "text", "a: [", "steps: 1\nsteps: 2\n"])
    func filesThatAreNoMappingAreRefused(text: String) throws {
        let error = #expect(throws: SettingsError.self) { try parseTrain([], file: text) }
        guard case .unreadable = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test func aMissingFileIsNamed() throws {
        let error = #expect(throws: SettingsError.self) {
            try Settings.parse(Program.self, arguments: ["--config", "/nowhere/x.yaml"], environment: [:])
        }
        #expect("\(try #require(error))".contains("/nowhere/x.yaml"))
    }
}
