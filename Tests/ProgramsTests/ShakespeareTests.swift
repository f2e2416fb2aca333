import ControlTestSupport
import Foundation
import Testing

/// `deploy/shakespeare/train.sh`, which `make train` runs.
@Suite struct ShakespeareTests {
    /// What the user has for other runs and other coordinators is not meant.
    @Test func trainsWhateverTheUserHasSet() throws {
        let folder = try TemporaryFolder()
        let files = FileManager.default
        // The script works beside itself, with the programs that are built there.
        let script = folder.url.appending(path: "deploy/shakespeare/train.sh")
        try files.createDirectory(
            at: folder.url.appending(path: "deploy"), withIntermediateDirectories: true)
        try files.copyItem(
            at: Repository.root.appending(path: "deploy/shakespeare"), to: script.deletingLastPathComponent())
        let build = folder.url.appending(path: ".build")
        try files.createDirectory(at: build, withIntermediateDirectories: true)
        let tests = try files.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        try files.createSymbolicLink(
            at: build.appending(path: "release"),
            withDestinationURL: URL(fileURLWithPath: tests).deletingLastPathComponent())
        let line = "To be, or not to be, that is the question.\n"
        try String(repeating: line, count: 1000).write(
            toFile: folder.path("text.txt"), atomically: true, encoding: .utf8)
        try files.createDirectory(at: folder.url.appending(path: "user/moe"), withIntermediateDirectories: true)
        try "key-file: /nonexistent\n".write(
            toFile: folder.path("user/moe/ctl.yaml"), atomically: true, encoding: .utf8)
        let program = try RunningProgram(
            command: ["bash", script.path],
            variables: [
                "TEXT": folder.path("text.txt"), "STEPS": "2", "RANKS": "1", "XDG_CONFIG_HOME": folder.path("user"),
                "MOE_KEY_FILE": "/nonexistent", "MOE_SEED": "many",
            ])
        #expect(program.waitForEnd() == 0, "\(program.text)")
        #expect(program.text.contains("completed") && program.text.contains("where to look next"), "\(program.text)")
    }
}
