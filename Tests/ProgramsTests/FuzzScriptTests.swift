import ControlTestSupport
import Foundation
import Testing

/// `Tests/Fuzzing/fuzz.sh` with a compiler that only notes what it is asked for.
@Suite struct FuzzScriptTests {
    @Test func theWayToTheSourcesMayHaveSpaces() throws {
        let folder = try TemporaryFolder()
        let sources = folder.url.appending(path: "a checkout")
        let script = sources.appending(path: "Tests/Fuzzing/fuzz.sh")
        for name in [
            "Tests/Fuzzing", "Sources/CGlibc", ".build/checkouts/swift-crypto/Sources", ".build/checkouts/FlyingFox",
        ]
            + ["CryptoBoringWrapper", "Crypto"].map({ ".build/x/release/\($0).build" })
        {
            try FileManager.default.createDirectory(
                at: sources.appending(path: name), withIntermediateDirectories: true)
        }
        try FileManager.default.copyItem(
            at: Repository.root.appending(path: "Tests/Fuzzing/fuzz.sh"), to: script)
        let object = ".build/x/release/Crypto.build/a.o"
        try Data().write(to: sources.appending(path: object))
        for (name, text) in [
            "swift": "echo \"$(pwd -P)/.build/x/release\"",
            "swiftc": "printf '%s\\n' \"$@\" >>\(folder.path("arguments"))",
        ] {
            try "#!/bin/sh\n\(text)\n".write(toFile: folder.path(name), atomically: true, encoding: .utf8)
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: folder.path(name))
        }
        let run = try ShellCommand(
            ["sh", script.path], environment: ["PATH": "\(folder.url.path):/usr/bin:/bin"])
        // There is no fuzzer after that.
        #expect(run.status == 1 && run.output.contains("the canary lives"), "\(run.output)")
        let arguments = try String(contentsOfFile: folder.path("arguments"), encoding: .utf8).split(separator: "\n")
        #expect(arguments.contains(".build/x/release/Modules"))
        #expect(arguments.contains(Substring(object)), "\(arguments)")
    }
}
