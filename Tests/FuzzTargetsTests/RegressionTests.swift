import ControlTestSupport
import Foundation
import FuzzTargets
import Testing

struct RegressionTests {
    /// What the fuzzer found once. An input that still ends the process ends the tests.
    @Test(arguments: FuzzTarget.allCases.filter { $0 != .canary })
    func inputsThatWereFound(target: FuzzTarget) throws {
        let folder = Repository.root.appending(path: "Tests/Fuzzing/Regressions/\(target.rawValue)")
        let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
        #expect(!files.isEmpty)
        for file in files.sorted(by: { $0.path < $1.path }) { target.run([UInt8](try Data(contentsOf: file))) }
    }
}
