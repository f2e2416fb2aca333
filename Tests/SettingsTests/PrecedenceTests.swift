import ArgumentParser
import Foundation
import Settings
import Testing

/// Flag > environment > file > default.
@Suite struct PrecedenceTests {
    @Test(arguments: [false, true], [false, true])
    func theStrongestSourceWins(flag: Bool, environment: Bool) throws {
        for file in [false, true] {
            var arguments = [String]()
            if flag { arguments += ["--learning-rate", "0.3"] }
            let train = try parseTrain(
                arguments, environment: environment ? ["MOE_LEARNING_RATE": "0.2"] : [:],
                file: "steps: 7\n" + (file ? "learning-rate: 1e-1\n" : ""))
            let expected = flag ? 0.3 : environment ? 0.2 : file ? 0.1 : 0.001
            #expect(train.learningRate == expected, "flag \(flag), environment \(environment), file \(file)")
            #expect(train.steps == 7)
        }
    }

    @Test(arguments: [["--run", "a"], ["--run=a"], ["-r", "a"]])
    func everySpellingOfAFlagCounts(arguments: [String]) throws {
        #expect(try parseTrain(arguments, file: "{steps: 1, run: b}").run == "a")
    }

    @Test func listsDoNotAddUp() throws {
        let file = "steps: 1\nhost: [c, d]\n"
        #expect(try parseTrain([], file: file).host == ["c", "d"])
        #expect(try parseTrain([], environment: ["MOE_HOST": "b"], file: file).host == ["b"])
        #expect(try parseTrain(["--host", "a"], environment: ["MOE_HOST": "b"], file: file).host == ["a"])
    }

    @Test func flagsAreTrueOrFalse() throws {
        #expect(try parseTrain([], file: "{steps: 1, verbose: true}").verbose)
        #expect(try !parseTrain([], file: "{steps: 1, verbose: false}").verbose)
        #expect(try parseTrain([], environment: ["MOE_VERBOSE": "1"], file: "{steps: 1, verbose: false}").verbose)
        #expect(try !parseTrain([], file: "{steps: 1, shuffle: false}").shuffle)
        #expect(try parseTrain(["--shuffle"], file: "{steps: 1, shuffle: false}").shuffle)
        #expect(try !parseTrain(["--no-shuffle"], file: "{steps: 1, shuffle: true}").shuffle)
        #expect(try !parseTrain([], environment: ["MOE_SHUFFLE": "no"], file: "{steps: 1, shuffle: true}").shuffle)
    }

    @Test func emptyVariablesSayNothing() throws {
        let file = "{steps: 1, run: a, learning-rate: 0.5, verbose: true, host: [b]}"
        let empty = ["MOE_RUN": "", "MOE_LEARNING_RATE": "", "MOE_VERBOSE": "", "MOE_HOST": ""]
        let train = try parseTrain([], environment: empty, file: file)
        #expect(train.run == "a" && train.learningRate == 0.5 && train.verbose)
        #expect(train.host == ["b"])
        #expect(try parseTrain(["--run", "c"], environment: empty, file: file).run == "c")
    }

    /// A file is the default command's; another takes what is its own, and the default command nothing of the other's.
    @Test func otherCommandsTakeTheDefaultOnesFile() throws {
        let path = try write("{steps: 3, learning-rate: 0.5, run: a, shuffle: false}\n")
        defer { try? FileManager.default.removeItem(atPath: path) }
        let sample = try #require(
            try Settings.parse(Program.self, arguments: ["sample", "--config", path], environment: [:]) as? Sample)
        #expect(sample.run == "a" && sample.length == 1)
        let named = try Settings.parse(Program.self, arguments: ["sample"], environment: ["MOE_CONFIG": path])
        #expect((named as? Sample)?.run == "a")
        try "{steps: 3, stps: 4}\n".write(toFile: path, atomically: true, encoding: .utf8)
        #expect(throws: SettingsError.unknownKey(file: path, key: "stps", nearest: "steps")) {
            try Settings.parse(Program.self, arguments: ["sample", "--config", path], environment: [:])
        }
        #expect(throws: SettingsError.self) { try parseTrain([], file: "{steps: 1, length: 2}") }
    }

    @Test func theEnvironmentCanNameTheFile() throws {
        let path = try write("steps: 3\n")
        defer { try? FileManager.default.removeItem(atPath: path) }
        let train = try #require(
            try Settings.parse(Program.self, arguments: [], environment: ["MOE_CONFIG": path]) as? Train)
        #expect(train.steps == 3)
        let empty = ["MOE_CONFIG": "", "MOE_STEPS": "4"]
        #expect((try Settings.parse(Program.self, arguments: [], environment: empty) as? Train)?.steps == 4)
    }

    /// As a tool with many commands has it.
    @Test func someOptionsOfAllCommands() throws {
        let path = try write("listen: '[::1]:2'\nlearning-rate: 0.5\n")
        defer { try? FileManager.default.removeItem(atPath: path) }
        func parse(_ arguments: [String], _ environment: [String: String] = [:]) throws -> any ParsableCommand {
            try Settings.parse(
                Program.self, arguments: arguments, environment: environment, keys: ["listen", "learning-rate"],
                file: path)
        }
        #expect((try parse(["serve"]) as? Serve)?.listen == "[::1]:2")
        #expect((try parse(["serve"], ["MOE_LISTEN": "[::1]:3"]) as? Serve)?.listen == "[::1]:3")
        let train = try parse(["--steps", "1"], ["MOE_RUN": "x"]) as? Train
        #expect(train?.learningRate == 0.5)
        #expect(train?.run == nil)
        try "lisen: x".write(toFile: path, atomically: true, encoding: .utf8)
        let error = #expect(throws: SettingsError.self) { try parse(["serve"]) }
        #expect(error == .unknownKey(file: path, key: "lisen", nearest: "listen"))
    }

    @Test func valuesMayStartWithADash() throws {
        #expect(try parseTrain([], file: "{steps: 1, run: -x}").run == "-x")
        #expect(try parseTrain([], file: "steps: 1").learningRate == 0.001)
    }

    @Test func onlyTheChosenCommandIsAsked() throws {
        let serve = try Settings.parse(
            Program.self, arguments: ["serve"], environment: ["MOE_LISTEN": "[::1]:1", "MOE_STEPS": "many"])
        #expect((serve as? Serve)?.listen == "[::1]:1")
    }

    /// Options that share a name may mean different things.
    @Test(arguments: [nil, ["run", "host"]] as [[String]?]) func ownOptionsAreTheArguments(keys: [String]?) throws {
        let command = try Settings.parse(
            Program.self, arguments: ["repeat"], environment: ["MOE_RUN": "mine", "MOE_HOST": "a"], keys: keys)
        let parsed = try #require(command as? Repeat)
        #expect(parsed.run == 1 && parsed.host == "a")
    }

    @Test func commentsAloneSetNothing() throws {
        #expect(try parseTrain(["--steps", "2"], file: "# nothing\n").steps == 2)
    }

    @Test(arguments: [["--help"], ["--version"], ["train", "--help"]])
    func questionsAreAnsweredWhateverTheSettings(arguments: [String]) throws {
        let error = #expect(throws: (any Error).self) {
            let command = try Settings.parse(
                Program.self, arguments: arguments, environment: ["MOE_STEPS": "many", "MOE_CONFIG": "/nowhere"])
            var run = command
            try run.run()
        }
        #expect(error.map { Program.exitCode(for: $0) } == .success)
    }
}

func write(_ text: String) throws -> String {
    let path = FileManager.default.temporaryDirectory.appending(path: "settings-\(UUID().uuidString).yaml").path
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    return path
}

func parseTrain(_ arguments: [String], environment: [String: String] = [:], file: String) throws -> Train {
    let path = try write(file)
    defer { try? FileManager.default.removeItem(atPath: path) }
    let command = try Settings.parse(
        Program.self, arguments: ["--config", path] + arguments, environment: environment)
    return try #require(command as? Train)
}
