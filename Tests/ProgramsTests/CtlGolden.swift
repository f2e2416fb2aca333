import Foundation
import Testing

/// Compares `text` with the file `Tests/golden/moe-ctl/NAME`; with `MOE_RECORD=1` in the environment writes it instead.
func expectGolden(_ text: String, _ name: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
    let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("golden/moe-ctl/\(name)")
    if ProcessInfo.processInfo.environment["MOE_RECORD"] == "1" {
        try FileManager.default.createDirectory(
            at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: file)
        return
    }
    let expected = try? String(contentsOf: file, encoding: .utf8)
    #expect(
        text == expected, "\(name) differs; look at the difference, and record it with MOE_RECORD=1 when it is right",
        sourceLocation: sourceLocation)
}
