import Checkpoints
import Foundation
import Testing

@Suite struct CheckpointClaimTests {
    private func isSuperseded(_ body: () throws -> Void) -> Bool {
        do { try body() } catch { return (error as? CheckpointError)?.code == .superseded }
        return false
    }

    @Test func theIncarnationBeforeIsFenced() throws {
        try withTemporaryDirectory { directory in
            let first = try SmallCheckpoint.claim(directory, incarnation: 1)
            try SmallCheckpoint.write(first, step: 1)
            // In the middle of another.
            try first.begin(step: 2)
            let second = try SmallCheckpoint.claim(directory, incarnation: 2)
            #expect(try contents(directory) == [".lock", "incarnation.json", "step-1"])
            #expect(try CheckpointClaim.lastIncarnation(in: CheckpointDirectory(directory)) == 2)
            #expect(isSuperseded { try first.check() })
            #expect(isSuperseded { try first.begin(step: 3) })
            try second.check()
            try SmallCheckpoint.write(second, step: 2)
            #expect(try contents(directory) == [".lock", "incarnation.json", "step-1", "step-2"])
        }
    }

    /// Both write the same step at the same time: the files of one never get into the other's.
    @Test func theOneThatBeganLastCommits() throws {
        try withTemporaryDirectory { directory in
            let first = try SmallCheckpoint.claim(directory, incarnation: 1)
            try first.begin(step: 5)
            let second = try SmallCheckpoint.claim(directory, incarnation: 2)
            try second.begin(step: 5)
            // What the first has still to write has no place any more.
            #expect(throws: CheckpointError.self) {
                try HashedFile(directory: first.partialPath(ofStep: 5), name: "model.safetensors")
            }
            first.abandon(step: 5)
            second.abandon(step: 5)
            try SmallCheckpoint.write(second, step: 5, value: 2)
            try #require(try CheckpointDirectory(directory).newest()).verify()
            // The same number is no way back.
            _ = try SmallCheckpoint.claim(directory, incarnation: 2)
            #expect(isSuperseded { try second.begin(step: 6) })
        }
    }

    /// The fence falls between the last file and the commit.
    @Test func aCommitIsFenced() throws {
        try withTemporaryDirectory { directory in
            let first = try SmallCheckpoint.claim(directory, incarnation: 1)
            let path = try SmallCheckpoint.write(first, step: 1)
            var manifest = try Checkpoint(path: path).manifest
            manifest.step = 2
            try first.begin(step: 2)
            let other = #"{"id": "other", "incarnation": 2, "run": "tiny"}"#
            try Data(other.utf8).write(to: URL(fileURLWithPath: "\(directory)/incarnation.json"))
            #expect(isSuperseded { _ = try first.commit(manifest, keep: 1) })
            first.abandon(step: 2)
            #expect(try contents(directory) == [".lock", "incarnation.json", "step-1"])
        }
    }

    /// It is no other incarnation's then, and the reason is told.
    @Test func whatCannotBeReadIsNobodys() throws {
        try withTemporaryDirectory { directory in
            let all = CheckpointDirectory(directory)
            #expect(try CheckpointClaim.lastIncarnation(in: all) == 0)
            let claim = try SmallCheckpoint.claim(directory, incarnation: 1)
            let file = URL(fileURLWithPath: "\(directory)/incarnation.json")
            let good = try Data(contentsOf: file)
            let tooLarge = #"{"id": "other", "incarnation": 9007199254740992, "run": "tiny"}"#
            for bad in [Data(), Data("{}".utf8), good.dropLast(9), Data(count: 1 << 17), Data(tooLarge.utf8)] {
                try bad.write(to: file)
                for body in [{ try claim.check() }, { _ = try CheckpointClaim.lastIncarnation(in: all) }] {
                    let error = #expect(throws: CheckpointError.self) { try body() }
                    #expect(error?.code == .damaged && error?.path == file.path)
                }
            }
            try FileManager.default.removeItem(at: file)
            let missing = #expect(throws: CheckpointError.self) { try claim.check() }
            #expect(missing?.code == .damaged && missing?.reason.hasPrefix("is missing") == true)
            // A file that is there and cannot be opened.
            try FileManager.default.createSymbolicLink(at: file, withDestinationURL: file)
            for body in [{ try claim.check() }, { _ = try CheckpointClaim.lastIncarnation(in: all) }] {
                let error = #expect(throws: CheckpointError.self) { try body() }
                #expect(error?.code == .system && error?.path == file.path)
            }
            try FileManager.default.removeItem(at: file)
            try good.write(to: file)
            try claim.check()
        }
    }

    @Test func theNewestStay() throws {
        try withTemporaryDirectory { directory in
            let claim = try SmallCheckpoint.claim(directory)
            for step in [1, 2, 10] { try SmallCheckpoint.write(claim, step: step) }
            // Nobody's business.
            for name in ["step-0", "step-03", "step-+4", "notes"] {
                try FileManager.default.createDirectory(
                    atPath: "\(directory)/\(name)", withIntermediateDirectories: false)
            }
            try SmallCheckpoint.write(claim, step: 11, keep: 2)
            let rest = [".lock", "incarnation.json", "notes", "step-+4", "step-0", "step-03", "step-10", "step-11"]
            #expect(try contents(directory) == rest)
            #expect(try CheckpointDirectory(directory).steps() == [0, 10, 11])
            #expect(try CheckpointDirectory(directory).newest()?.manifest.step == 11)
        }
    }

    /// Directories that users made in them, too; what links lead to stays.
    @Test func oldOnesGoWithAllThatIsInThem() throws {
        try withTemporaryDirectory { directory in
            let claim = try SmallCheckpoint.claim(directory)
            for step in [1, 2] { try SmallCheckpoint.write(claim, step: step) }
            let (manager, kept) = (FileManager.default, "\(directory)/kept")
            try manager.createDirectory(atPath: "\(directory)/step-1/model/more", withIntermediateDirectories: true)
            try Data().write(to: URL(fileURLWithPath: "\(directory)/step-1/model/more/file"))
            try manager.moveItem(atPath: "\(directory)/step-2", toPath: kept)
            for link in ["step-1/link", "step-2"] {
                try manager.createSymbolicLink(atPath: "\(directory)/\(link)", withDestinationPath: kept)
            }
            let files = try contents(kept)
            try SmallCheckpoint.write(claim, step: 3, keep: 1)
            #expect(try contents(directory) == [".lock", "incarnation.json", "kept", "step-3"])
            #expect(try contents(kept) == files)
        }
    }

    /// Not even root can remove what has too long a path.
    @Test func whatCannotBeRemovedEndsNothing() throws {
        try withTemporaryDirectory { directory in
            let first = try SmallCheckpoint.claim(directory, incarnation: 1)
            try SmallCheckpoint.write(first, step: 1)
            // Linux takes 4,095 bytes: enough for this, not for the longer name that an old checkpoint gets.
            var path = "\(directory)/step-1"
            while path.utf8.count < 4_080 {
                path += "/" + String(repeating: "d", count: min(200, 4_080 - path.utf8.count))
                try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
            }
            try SmallCheckpoint.write(first, step: 2, keep: 1)
            let leftover = try #require(try contents(directory).first { $0.hasPrefix(".step-1.") })
            #expect(try contents(directory) == [".lock", leftover, "incarnation.json", "step-2"])
            // But for that nothing is left of it.
            #expect(try contents("\(directory)/\(leftover)") == [String(repeating: "d", count: 200)])
            let second = try SmallCheckpoint.claim(directory, incarnation: 2)
            try SmallCheckpoint.write(second, step: 3)
            #expect(try contents(directory) == [".lock", leftover, "incarnation.json", "step-2", "step-3"])
            // Once it can be removed, the next start does.
            try FileManager.default.moveItem(atPath: "\(directory)/\(leftover)", toPath: "\(directory)/.step-1.x")
            _ = try SmallCheckpoint.claim(directory, incarnation: 3)
            #expect(try contents(directory) == [".lock", "incarnation.json", "step-2", "step-3"])
        }
    }

    @Test func anOldOneThatKeepsItsNameStaysWhole() throws {
        try withTemporaryDirectory { directory in
            let claim = try SmallCheckpoint.claim(directory)
            try SmallCheckpoint.write(claim, step: 1)
            let obstacle = claim.partialPath(ofStep: 1).replacing(".partial", with: ".removed")
            try FileManager.default.createDirectory(atPath: obstacle + "/file", withIntermediateDirectories: true)
            try SmallCheckpoint.write(claim, step: 2, keep: 1)
            #expect(try CheckpointDirectory(directory).steps() == [1, 2])
            try CheckpointDirectory(directory).checkpoint(ofStep: 1).verify()
            try FileManager.default.removeItem(atPath: obstacle)
            try SmallCheckpoint.write(claim, step: 3, keep: 1)
            #expect(try contents(directory) == [".lock", "incarnation.json", "step-3"])
        }
    }

    @Test func nothingIsReplaced() throws {
        try withTemporaryDirectory { directory in
            let claim = try SmallCheckpoint.claim(directory)
            try SmallCheckpoint.write(claim, step: 1)
            let error = #expect(throws: CheckpointError.self) { try SmallCheckpoint.write(claim, step: 1) }
            #expect(error?.path == "\(directory)/step-1")
            #expect(try contents(directory) == [".lock", "incarnation.json", "step-1"])
        }
    }

    @Test func adviceNamesTheNewestThatIsGood() throws {
        try withTemporaryDirectory { directory in
            let claim = try SmallCheckpoint.claim(directory)
            for step in 1...4 { try SmallCheckpoint.write(claim, step: step) }
            try Data().write(to: URL(fileURLWithPath: "\(directory)/step-3/config.json"))
            let all = CheckpointDirectory(directory)
            #expect(all.advice(insteadOf: 4).hasPrefix("\(directory)/step-2 is whole"))
            #expect(all.advice(insteadOf: 1) == "there is no older checkpoint that is whole")
            #expect(try CheckpointDirectory("\(directory)/none").newest() == nil)
        }
    }

    @Test func aDirectoryIsMadeOrRefused() throws {
        try withTemporaryDirectory { directory in
            try CheckpointDirectory("\(directory)/a/b/").prepare()
            #expect(try contents("\(directory)/a") == ["b"])
            try Data().write(to: URL(fileURLWithPath: "\(directory)/file"))
            #expect(throws: CheckpointError.self) { try CheckpointDirectory("\(directory)/file").prepare() }
            #expect(throws: CheckpointError.self) { try CheckpointDirectory("/proc/none").prepare() }
        }
    }
}
