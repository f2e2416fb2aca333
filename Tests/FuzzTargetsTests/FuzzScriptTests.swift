import ControlTestSupport
import Foundation
import Testing

struct FuzzScriptTests {
    /// Above all not 0, which has no end.
    @Test(arguments: ["0", "00", "-1", "1.5", "soon"])
    func onlyNumbersOfSecondsAreTaken(seconds: String) throws {
        let script = Process()
        script.executableURL = URL(fileURLWithPath: "/bin/sh")
        script.arguments = [Repository.root.appending(path: "Tests/Fuzzing/fuzz.sh").path, seconds]
        // If it were taken, it would have nothing to do.
        script.environment = ProcessInfo.processInfo.environment.merging(["TARGETS": "none"]) { _, other in other }
        let errors = Pipe()
        script.standardError = errors
        try script.run()
        let text = String(decoding: try errors.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        script.waitUntilExit()
        #expect(script.terminationStatus == 1)
        #expect(text.contains("at least 1, not for '\(seconds)'"), "\(text)")
    }
}
