import ControlTestSupport
import Foundation
import Testing

/// What benchmarks in Python measure by.
@Suite struct BenchmarkTests {
    @Test func itsOwnTestsPass() throws {
        let tests = try RunningProgram(
            command: ["python3", "-B", Repository.root.appending(path: "Tests/python/test_benchmarks.py").path],
            variables: ["PYTHONPATH": Repository.root.appending(path: "Benchmarks").path])
        #expect(tests.waitForEnd() == 0, "\(tests.text)")
    }

    /// Each program that starts ours forgets the user's settings first.
    @Test(arguments: ["bench", "coordinator", "simulation", "tokenizer", "validation"])
    func usersSettingsAreForgotten(program: String) throws {
        let file = Repository.root.appending(path: "Benchmarks/\(program).py")
        #expect(try String(contentsOf: file, encoding: .utf8).contains("machine.forget_settings()\n"))
    }
}
