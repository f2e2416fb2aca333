import Checkpoints
import Foundation
import Randomness
import TestSupport
import Testing

/// What is not as it was written is found, and named.
@Suite struct CheckpointDamageTests {
    /// The error that reading all of the newest checkpoint gives.
    private func problem(in directory: String) -> CheckpointError? {
        do {
            try CheckpointDirectory(directory).newest()?.verify()
            return nil
        } catch {
            return error as? CheckpointError
        }
    }

    @Test func wholeCheckpointsPass() throws {
        try withTemporaryDirectory { directory in
            try SmallCheckpoint.write(SmallCheckpoint.claim(directory), step: 7)
            let checkpoint = try #require(try CheckpointDirectory(directory).newest())
            try checkpoint.verify()
            for parts in 1...4 { for part in 0..<parts { try checkpoint.verify(part: part, of: parts) } }
            let manifest = checkpoint.manifest
            #expect(manifest.step == 7 && manifest.updates == 7 && manifest.run == "tiny" && manifest.worldSize == 1)
            #expect(manifest.data == SmallCheckpoint.data)
            #expect(try manifest.plan == SmallCheckpoint.plan())
            #expect(manifest.largestRevision == 4 && manifest.createdAt == "1970-01-01T00:00:00Z")
            #expect(
                manifest.files.map(\.name).sorted() == [
                    "config.json", "model.safetensors", "optimizer-00001-of-00001.safetensors",
                ])
        }
    }

    /// A bit, anywhere in any file.
    @Test func flippedBits() throws {
        let generator = CounterBasedGenerator(seed: TestRuns.seed(), purpose: "flipped bits")
        try withTemporaryDirectory { directory in
            let path = try SmallCheckpoint.write(SmallCheckpoint.claim(directory), step: 7)
            for (number, name) in try contents(path).enumerated() {
                let file = "\(path)/\(name)"
                let good = try Data(contentsOf: URL(fileURLWithPath: file))
                for trial in 0..<40 {
                    let bit = generator.integer(at: UInt64(100 * number + trial), below: 8 * good.count)
                    var bad = good
                    bad[bit / 8] ^= 1 << (bit % 8)
                    try bad.write(to: URL(fileURLWithPath: file))
                    #expect(problem(in: directory)?.path == file, "bit \(bit) of \(name)")
                }
                try good.write(to: URL(fileURLWithPath: file))
            }
            #expect(problem(in: directory) == nil)
        }
    }

    @Test(arguments: ["config.json", "model.safetensors", "optimizer-00001-of-00001.safetensors", "checkpoint.json"])
    func filesThatAreMissingCutShortOrLonger(name: String) throws {
        try withTemporaryDirectory { directory in
            let path = try SmallCheckpoint.write(SmallCheckpoint.claim(directory), step: 7)
            let file = URL(fileURLWithPath: "\(path)/\(name)")
            let good = try Data(contentsOf: file)
            for bad in [Data(), good.prefix(1), good.prefix(good.count / 2), good.dropLast(), good + Data([0])] {
                try bad.write(to: file)
                #expect(problem(in: directory)?.path == file.path, "\(bad.count) of \(good.count) bytes")
            }
            try FileManager.default.removeItem(at: file)
            let missing = try #require(problem(in: directory))
            #expect(missing.path == file.path && missing.reason.contains("is missing"), "\(missing)")
            try FileManager.default.createDirectory(at: file, withIntermediateDirectories: false)
            #expect(problem(in: directory)?.path == file.path)
        }
    }

    /// Of two.
    private static let indexAndOnePart = #"""
        "name":"model-00001-of-00002.safetensors","sha256":"\#(String(repeating: "0f", count: 32))"},{"bytes":1,\#
        "name":"model.safetensors.index.json"
        """#

    private static let hostile: [(String, String, String)] = [
        (#""format":1"#, #""format":2"#, "format 2"),
        (#""format":1"#, #""format":"one""#, "format"),
        (#""step":7"#, #""step":-1"#, "step"),
        (#""step":7"#, #""step":9223372036854775807"#, "step"),
        (#""step":7"#, #""step":1e300"#, "is not what a checkpoint's manifest has to be"),
        (#""step":7"#, #""step":8"#, "of step 8"),
        (#""updates":7"#, #""updates":8"#, "8 updates"),
        (#""updates":7,"world_size":1"#, #""updates":7,"world_size":2"#, "world_size is 2"),
        (#""world_size":1"#, #""world_size":2"#, "nodes of 1 ranks are listed"),
        (#""world_size":1"#, #""world_size":1000000000000"#, "world size 1000000000000"),
        (#""name":"config.json""#, #""name":"../config.json""#, "plain file name"),
        (#""name":"config.json""#, #""name":"/etc/passwd""#, "plain file name"),
        (#""name":"config.json""#, #""name":".config.json""#, "plain file name"),
        (#""name":"config.json""#, #""name":"a\u0000b""#, "plain file name"),
        (#""name":"config.json""#, #""name":"checkpoint.json""#, "plain file name"),
        (#""name":"config.json""#, #""name":"model.safetensors""#, "twice"),
        (#""name":"config.json""#, #""name":"other.json""#, "config.json"),
        (#""name":"model.safetensors""#, #""name":"other.safetensors""#, "does not list all weights"),
        (#""name":"model.safetensors""#, #""name":"model.safetensors.index.json""#, "does not list all weights"),
        (#""name":"model.safetensors""#, #""name":"model-00001-of-00002.safetensors""#, "does not list all weights"),
        (#""name":"model.safetensors""#, indexAndOnePart, "does not list all weights"),
        // That of "{}".
        (#""sha256":"44136fa3"#, #""sha256":"44136FA3"#, "the sha256 of config.json is none"),
        (#""sha256":"44136fa3"#, #""sha256":"44136fa"#, "the sha256 of config.json is none"),
        (#""sha256":"44136fa3"#, #""sha256":"44136fag"#, "the sha256 of config.json is none"),
        (#""bytes":2,"#, #""bytes":-2,"#, "bytes"),
        (#""bytes":2,"#, #""bytes":9223372036854775807,"#, "bytes"),
        (#""tokens":600"#, #""tokens":-600"#, "tokens"),
        (#""batch_size":6"#, #""batch_size":-6"#, "batch_size is -6"),
        (#""batch_size":6"#, #""batch_size":9007199254740993"#, "batch_size is 9007199254740993"),
        (#""sequence_length":8"#, #""sequence_length":-8"#, "sequence_length is -8"),
        (#""sequence_length":8"#, #""sequence_length":9007199254740993"#, "sequence_length is 9007199254740993"),
        (#""tokens_digest":"0f"#, #""tokens_digest":"0F"#, "tokens_digest"),
        (#""largest_revision":4"#, #""largest_revision":2"#, "revision 3"),
        (#""ranks":[0]"#, #""ranks":[7]"#, "rank 7"),
        (#""run":"tiny""#, #""run":"""#, "run"),
        (#""ownership":"colocated""#, #""ownership":"mine""#, "ownership"),
    ]

    /// A manifest as earlier releases wrote it.
    private func withoutDigest(_ text: String) -> String { "{" + String(text.drop { $0 != "," }.dropFirst()) }

    /// Who writes them knows of digests, too.
    @Test(arguments: hostile)
    func hostileManifests(_ change: (old: String, new: String, words: String)) throws {
        try expectRefusal(change) { withoutDigest($0) }
    }

    /// What is a manifest all the same.
    @Test(arguments: [
        (#""updates":7"#, #""updates":6"#, "its digest is not that of what was written"),
        (#"{"digest":""#, #"{"digest":"0"#, "its digest is not that of what was written"),
        (#"{"digest":""#, #"{"Digest":""#, #"it has a field "Digest", and does not begin with its digest"#),
        (#"{"digest""#, #"{ "digest""#, #"it has a field "digest", and does not begin with its digest"#),
    ])
    func manifestsOtherThanWritten(_ change: (old: String, new: String, words: String)) throws {
        try expectRefusal(change) { $0 }
    }

    private func expectRefusal(
        _ change: (old: String, new: String, words: String), of manifest: (String) -> String
    ) throws {
        try withTemporaryDirectory { directory in
            let path = try SmallCheckpoint.write(SmallCheckpoint.claim(directory), step: 7) + "/checkpoint.json"
            let text = manifest(try String(contentsOfFile: path, encoding: .utf8))
            let changed = text.replacingOccurrences(of: change.old, with: change.new)
            #expect(changed != text, "\(change.old) is not in \(text)")
            try Data(changed.utf8).write(to: URL(fileURLWithPath: path))
            let error = try #require(problem(in: directory), "\(change.new) was taken")
            #expect(error.path == path && error.reason.contains(change.words), "\(error)")
        }
    }

    /// Those of earlier releases; but for the digest they were the same.
    @Test func manifestsWithoutADigestAreRead() throws {
        try withTemporaryDirectory { directory in
            let path = try SmallCheckpoint.write(SmallCheckpoint.claim(directory), step: 7)
            let written = try Checkpoint(path: path).manifest
            let file = URL(fileURLWithPath: "\(path)/checkpoint.json")
            let earlier = withoutDigest(try String(contentsOf: file, encoding: .utf8))
            #expect(earlier.hasPrefix(#"{"allocator":"#), "\(earlier)")
            try Data(earlier.utf8).write(to: file)
            #expect(try Checkpoint(path: path).manifest == written)
            #expect(problem(in: directory) == nil)
        }
    }

    /// By the name that it has, and not for one that says nothing of a step.
    @Test func aDirectoryOfAnotherStepIsRefused() throws {
        try withTemporaryDirectory { directory in
            let path = try SmallCheckpoint.write(SmallCheckpoint.claim(directory), step: 7)
            for name in ["step-99", "best", "step-07"] {
                let copy = "\(directory)/\(name)"
                try FileManager.default.copyItem(atPath: path, toPath: copy)
                if name == "step-99" {
                    let error = #expect(throws: CheckpointError.self) { try Checkpoint(path: copy + "/") }
                    #expect(error?.reason == "is of step 7, which is not the directory's")
                } else {
                    try Checkpoint(path: copy).verify()
                }
            }
        }
    }

    /// Nothing that a file says ends the process.
    @Test func manifestsOfAnyBytes() throws {
        let generator = CounterBasedGenerator(seed: TestRuns.seed(), purpose: "any bytes")
        try withTemporaryDirectory { directory in
            let path = try SmallCheckpoint.write(SmallCheckpoint.claim(directory), step: 7) + "/checkpoint.json"
            let good = try Data(contentsOf: URL(fileURLWithPath: path))
            for trial in 0..<TestRuns.count(300, soak: 100_000) {
                var bad = good
                for change in 0..<4 {
                    let index = UInt64(8 * trial + 2 * change)
                    bad[generator.integer(at: index, below: bad.count)] =
                        Array(#"{}[]",:-0123456789eE.ntf\"#.utf8)[generator.integer(at: index + 1, below: 25)]
                }
                try bad.write(to: URL(fileURLWithPath: path))
                if let error = problem(in: directory) { #expect(error.path.hasPrefix(directory)) }
            }
        }
    }
}
