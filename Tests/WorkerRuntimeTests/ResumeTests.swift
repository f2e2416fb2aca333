import Checkpoints
import ExpertPlacement
import Foundation
import MessagePassing
import Randomness
import Synchronization
import TestSupport
import Testing
import WorkerRuntime

/// Runs that go on from a checkpoint are those that were never disturbed.
@Suite struct ResumeTests {
    private let fixture: TrainingFixture

    init() throws { fixture = try TrainingFixture() }

    private struct Setting: Sendable, CustomStringConvertible {
        var worldSize = 2
        var allocator = "tensor-parallel"
        var ownership = OwnershipPolicy.colocated
        var description: String { "\(worldSize) ranks, \(allocator), \(ownership)" }
    }

    private static let steps = 12
    private static let settings = [1, 2, 3].flatMap { worldSize in
        ["tensor-parallel", "expert-parallel", "replicated"].flatMap { allocator in
            OwnershipPolicy.allCases.map { Setting(worldSize: worldSize, allocator: allocator, ownership: $0) }
        }
    }

    private func train(
        _ setting: Setting, directory: String?, steps: Int = steps, change: (inout TrainingOptions) -> Void = { _ in }
    ) throws -> [StepMetrics] {
        try fixture.train(worldSize: setting.worldSize, steps: steps) { options in
            options.allocator = setting.allocator
            options.optimizerPlacement = setting.ownership
            options.checkpointDirectory = directory
            options.checkpointInterval = directory == nil ? 0 : 5
            options.checkpointKeep = 0
            options.schedule.steps = Self.steps
            change(&options)
        }
    }

    /// A copy of the directory that has but the checkpoint after `step` steps.
    private func copy(_ directory: String, step: Int) throws -> String {
        let copy = fixture.path("copy-\(UUID().uuidString)")
        try FileManager.default.createDirectory(atPath: copy, withIntermediateDirectories: false)
        try FileManager.default.copyItem(atPath: "\(directory)/step-\(step)", toPath: "\(copy)/step-\(step)")
        return copy
    }

    private func files(_ directory: String, step: Int) throws -> [CheckpointFile] {
        try Checkpoint(path: "\(directory)/step-\(step)").manifest.files
    }

    /// From each setting to itself: all state came back bit by bit, so all that follows has the same bits.
    @Test(arguments: settings) private func theSameRanksGoOnBitByBit(setting: Setting) throws {
        let directory = fixture.path("checkpoints")
        let whole = try train(setting, directory: directory)
        let copy = try copy(directory, step: 5)
        let rest = try train(setting, directory: copy)
        #expect(rest.map(\.step) == Array(6...Self.steps))
        #expect(rest.map(\.loss) == whole.suffix(7).map(\.loss))
        #expect(rest.map(\.gradientNorm) == whole.suffix(7).map(\.gradientNorm))
        #expect(rest.last?.validationLoss == whole.last?.validationLoss)
        for step in [10, Self.steps] {
            #expect(try files(copy, step: step) == files(directory, step: step), "step \(step)")
        }
    }

    /// From each setting to others, drawn.
    @Test(arguments: settings) private func otherRanksGoOnAsWell(setting: Setting) throws {
        let generator = CounterBasedGenerator(seed: TestRuns.seed(), purpose: "settings")
        let directory = fixture.path("checkpoints")
        let whole = try train(setting, directory: directory)
        for index in 0..<TestRuns.count(3, soak: 12) {
            let other = Self.settings[generator.integer(at: UInt64(index), below: Self.settings.count)]
            let copy = try copy(directory, step: 5)
            let rest = try train(other, directory: copy)
            #expect(rest.map(\.step) == Array(6...Self.steps))
            for (line, expected) in zip(rest, whole.suffix(7)) {
                #expect(abs(line.loss - expected.loss) < 1e-4, "from \(setting) to \(other): step \(line.step)")
            }
            let manifest = try Checkpoint(path: "\(copy)/step-\(Self.steps)").manifest
            #expect(manifest.worldSize == other.worldSize && manifest.ownership == other.ownership)
            #expect(manifest.updates == Self.steps && manifest.incarnation == 2)
        }
    }

    /// Experts move, a layer at a time, and every step has a checkpoint: also those between two plans go on.
    @Test func checkpointsBetweenTheLayersOfAPlan() throws {
        let directory = fixture.path("checkpoints")
        var setting = Setting(allocator: "load-balanced:shapes=replicas,margin=0,minimum-gain=0,life=1000000")
        func change(_ options: inout TrainingOptions) {
            options.dispatcher = "weighted"
            options.reportInterval = 3
            options.migrationBudgetBytes = 1
            options.auxiliaryLoss = 0
            options.checkpointInterval = 1
            options.schedule.steps = 200
            options.batchSize = 24
        }
        // Plans are made beside the training, in their own time: as many steps as it takes.
        var (whole, manifests) = ([StepMetrics](), [CheckpointManifest]())
        func isBetween(_ manifest: CheckpointManifest) -> Bool {
            manifest.plan.revision == 0 && manifest.step < whole.count - 10
        }
        while !manifests.contains(where: isBetween), whole.count < 3_200 {
            whole += try train(setting, directory: directory, steps: whole.count + 200, change: change)
            manifests = try CheckpointDirectory(directory).steps().map {
                try Checkpoint(path: "\(directory)/step-\($0)").manifest
            }
            #expect(manifests.count == whole.count)
        }
        let between = try #require(manifests.first(where: isBetween), "no plan took two steps")
        #expect(between.largestRevision > whole[between.step - 1].planRevision)
        for worldSize in [2, 3, 1] {
            setting.worldSize = worldSize
            let copy = try copy(directory, step: between.step)
            let end = between.step + 6
            let rest = try train(setting, directory: copy, steps: end) { options in
                change(&options)
                // Nothing moves again so soon.
                options.reportInterval = 1000
            }
            #expect(rest.map(\.step) == Array(between.step + 1...end))
            #expect(rest.allSatisfy { $0.planRevision == between.largestRevision + 1 })
            for (line, expected) in zip(rest, whole[between.step...]) {
                #expect(abs(line.loss - expected.loss) < 1e-4, "\(worldSize) ranks, step \(line.step)")
            }
            let first = try Checkpoint(path: "\(copy)/step-\(between.step + 1)").manifest
            let placements = first.plan.layers.map(\.experts) == between.plan.layers.map(\.experts)
            #expect(placements == (worldSize == 2), "experts stay where they were when the ranks do")
        }
    }

    /// Steps that were skipped are counted on.
    @Test func skippedStepsAreNoUpdates() throws {
        let directory = fixture.path("checkpoints")
        _ = try train(Setting(), directory: directory, steps: 5) { $0.schedule.learningRate = 1e-3 }
        var manifest = try Checkpoint(path: "\(directory)/step-5").manifest
        manifest.updates = 3
        try JSONEncoder().encode(manifest).write(to: URL(fileURLWithPath: "\(directory)/step-5/checkpoint.json"))
        let rest = try train(Setting(), directory: directory, steps: 6)
        #expect(rest.map(\.skippedSteps) == [2])
        #expect(try Checkpoint(path: "\(directory)/step-6").manifest.updates == 4)
    }

    @Test func nothingIsLeftToDo() throws {
        let directory = fixture.path("checkpoints")
        _ = try train(Setting(), directory: directory)
        for steps in [Self.steps, 7] {
            #expect(try train(Setting(worldSize: 1), directory: directory, steps: steps).isEmpty)
        }
        // The total has grown.
        #expect(try train(Setting(worldSize: 3), directory: directory, steps: 14).map(\.step) == [13, 14])
        #expect(try CheckpointDirectory(directory).steps() == [5, 10, 12, 14])
    }

    @Test func asManyStayAsAreAskedFor() throws {
        let directory = fixture.path("checkpoints")
        _ = try train(Setting(), directory: directory) {
            $0.checkpointInterval = 2
            $0.checkpointKeep = 3
        }
        #expect(try CheckpointDirectory(directory).steps() == [8, 10, 12])
    }

    // MARK: - Requests

    /// The run's outcome, with a rank that asks for something when it shows a step.
    private func train(
        directory: String, worldSize: Int = 3, steps: Int = steps, requestAfter step: Int,
        _ request: @escaping @Sendable ([CheckpointRequests]) throws -> Void
    ) throws -> [Result<Void, any Error>] {
        var options = fixture.options(steps: steps)
        options.checkpointDirectory = directory
        options.metrics = fixture.path("metrics.jsonl")
        options.evaluationInterval = 1
        let final = options
        let requests = (0..<worldSize).map { _ in CheckpointRequests() }
        return try outcomes(worldSize: worldSize) { communicator in
            let display = ProgressDisplay(steps: steps, interval: 1, isTerminal: false) { line in
                if line.hasPrefix("step \(step > 9 ? "" : " ")\(step)/") { try? request(requests) }
            }
            try Trainer(
                options: final, communicator: communicator, nodes: communicator.nodes(), display: display,
                requests: requests[communicator.rank]
            ).run()
        }
    }

    /// Any rank may be told to stop; all end after the next step at the latest, with a checkpoint to go on from.
    @Test(arguments: 0..<3) func aRequestToStop(rank: Int) throws {
        let directory = fixture.path("checkpoints")
        let whole = try fixture.train(worldSize: 3)
        let results = try train(directory: directory, requestAfter: 4) { $0[rank].stop() }
        for result in results {
            guard case .failure(let error as JobFailure) = result else {
                Issue.record("a rank went on")
                continue
            }
            #expect(error.exitCode == 75)
        }
        // Rank 0 shows a step after the ranks have talked about it.
        #expect(try CheckpointDirectory(directory).steps() == [5])
        // The checkpoint does not wait for a validation.
        let lines = try fixture.lines(ofMetrics: fixture.path("metrics.jsonl"))
        #expect(lines.filter { $0.validationLoss != nil }.map(\.step) == [1, 2, 3, 4] && lines.count == 5)
        let rest = try fixture.train(worldSize: 3) { $0.checkpointDirectory = directory }
        #expect(rest.map(\.loss) == whole.suffix(7).map(\.loss))
    }

    @Test(arguments: 0..<3) func aRequestToSave(rank: Int) throws {
        let directory = fixture.path("checkpoints")
        let results = try train(directory: directory, requestAfter: 4) { $0[rank].save() }
        for result in results { try result.get() }
        #expect(try CheckpointDirectory(directory).steps() == [5, 12])
    }

    // MARK: - What ends the job

    private func failure(
        _ setting: Setting = Setting(), directory: String, exitCode: Int32 = 1,
        _ change: (inout TrainingOptions) -> Void
    ) throws -> String {
        try fixture.failure(worldSize: setting.worldSize, steps: Self.steps, exitCode: exitCode) {
            $0.checkpointDirectory = directory
            change(&$0)
        }
    }

    /// All that is in a directory, with contents.
    private func everything(in directory: String) throws -> [String: Data] {
        var files = [String: Data]()
        for name in try FileManager.default.subpathsOfDirectory(atPath: directory) {
            files[name] = (try? Data(contentsOf: URL(fileURLWithPath: "\(directory)/\(name)"))) ?? Data()
        }
        return files
    }

    @Test(arguments: ["truncated", "flipped", "missing", "version"]) func damageIsNamedAndLeft(kind: String) throws {
        let directory = fixture.path("checkpoints")
        _ = try train(Setting(), directory: directory)
        for name in try FileManager.default.contentsOfDirectory(atPath: "\(directory)/step-12").sorted() {
            if kind == "version" && name != "checkpoint.json" { continue }
            let url = URL(fileURLWithPath: "\(directory)/step-12/\(name)")
            let good = try Data(contentsOf: url)
            switch kind {
            case "truncated": try good.dropLast(5).write(to: url)
            case "flipped":
                var bad = good
                // In the manifest: a digit of a hash.
                let place =
                    try name == "checkpoint.json"
                    ? #require(good.firstRange(of: Data("sha256".utf8))).upperBound + 4 : bad.count / 2
                bad[place] ^= 1
                try bad.write(to: url)
            case "missing": try FileManager.default.removeItem(at: url)
            default:
                let text = String(decoding: good, as: UTF8.self)
                try Data(text.replacingOccurrences(of: #""format":1,"#, with: #""format":7,"#).utf8).write(to: url)
            }
            let before = try everything(in: directory)
            let reason = try failure(directory: directory) { $0.steps = 20 }
            let named = kind == "flipped" && name == "checkpoint.json" ? "step-12/" : "step-12/\(name): "
            #expect(reason.contains(named), "\(reason)")
            #expect(kind == "version" || reason.contains("step-10 is whole"), "\(reason)")
            #expect(try everything(in: directory) == before)
            try good.write(to: url)
        }
    }

    /// Another step's weights in one file, which readers prefer to those in parts.
    @Test func weightsThatCameLaterAreNotRead() throws {
        let (alone, directory) = (fixture.path("alone"), fixture.path("checkpoints"))
        _ = try train(Setting(worldSize: 1), directory: alone, steps: 3)
        _ = try train(Setting(), directory: directory, steps: 5)
        try FileManager.default.copyItem(
            atPath: "\(alone)/step-3/model.safetensors", toPath: "\(directory)/step-5/model.safetensors")
        let before = try everything(in: directory)
        let reason = try failure(directory: directory) { $0.steps = 6 }
        #expect(reason.hasPrefix("\(directory)/step-5/model.safetensors is not listed as a file"), "\(reason)")
        #expect(try everything(in: directory) == before)
    }

    @Test func whatDecidesOnTheRunMustBeTheSame() throws {
        let directory = fixture.path("checkpoints")
        _ = try train(Setting(), directory: directory, steps: 5) { $0.run = "mine" }
        let before = try everything(in: directory)
        let other = try TrainingFixture(layers: 3)
        let longer = try TrainingFixture(validationTokens: 90)
        try longer.write((0..<601).map { UInt16($0 % 13) }, to: "train.bin")
        // As long, but for one token the same.
        let replaced = try TrainingFixture()
        let tokens = try Data(contentsOf: URL(fileURLWithPath: fixture.path("train.bin")))
        try (tokens.dropLast(2) + [(tokens[tokens.count - 2] + 1) % 13, 0]).write(
            to: URL(fileURLWithPath: replaced.path("train.bin")))
        let changes: [(String, (inout TrainingOptions) -> Void)] = [
            ("--run is yours, but \(directory)/step-5 was written with mine", { $0.run = "yours" }),
            ("--seed is 8, but \(directory)/step-5 was written with 7", { $0.seed = 8 }),
            (
                "--data-order is sequential, but \(directory)/step-5 was written with random",
                { $0.dataOrder = .sequential }
            ),
            ("--batch-size is 9, but \(directory)/step-5 was written with 6", { $0.batchSize = 9 }),
            ("--sequence-length is 7, but \(directory)/step-5 was written with 8", { $0.sequenceLength = 7 }),
            ("train.bin is 601, but \(directory)/step-5 was written with 600", { $0.data = longer.folder.path }),
            (
                "the digest of train.bin is ", { $0.data = replaced.folder.path }
            ),
            (
                "num_hidden_layers is 3, but that of \(directory)/step-5 is 2",
                { $0.modelConfiguration = other.path("config.json") }
            ),
        ]
        for (words, change) in changes {
            let reason = try failure(directory: directory, change)
            #expect(reason.contains(words), "\(reason)")
        }
        let reason = try failure(directory: directory, exitCode: 64) { $0.resume = .never }
        #expect(reason.contains("--resume never") && reason.contains("\(directory)/step-5"), "\(reason)")
        #expect(try everything(in: directory) == before)
        // Manifests from before there was a digest are read.
        var manifest = try Checkpoint(path: "\(directory)/step-5").manifest
        #expect(manifest.data.tokensDigest != nil)
        manifest.data.tokensDigest = nil
        try JSONEncoder().encode(manifest).write(to: URL(fileURLWithPath: "\(directory)/step-5/checkpoint.json"))
        // Without --run the checkpoint's name is taken.
        _ = try train(Setting(), directory: directory, steps: 6)
        #expect(try Checkpoint(path: "\(directory)/step-6").manifest.run == "mine")
    }

    /// What follows must be readable, too.
    @Test func numbersThatCannotBeCountedFurtherAreRefused() throws {
        let directory = fixture.path("checkpoints")
        _ = try train(Setting(), directory: directory, steps: 5)
        let original = try Checkpoint(path: "\(directory)/step-5").manifest
        for (name, change) in [
            ("incarnation", { $0.incarnation = 1 << 53 }), ("largest_revision", { $0.largestRevision = 1 << 53 }),
        ] as [(String, (inout CheckpointManifest) -> Void)] {
            var manifest = original
            change(&manifest)
            try JSONEncoder().encode(manifest).write(to: URL(fileURLWithPath: "\(directory)/step-5/checkpoint.json"))
            let reason = try failure(directory: directory) { $0.steps = 6 }
            #expect(reason.hasPrefix("the \(name) of \(directory)/step-5 is 9007199254740992, "), "\(reason)")
        }
    }

    /// The directory is taken while a job trains: it ends at its next checkpoint, which is not written.
    @Test func anIncarnationBeforeIsFenced() throws {
        let directory = fixture.path("checkpoints")
        let results = try train(directory: directory, worldSize: 2, requestAfter: 3) { _ in
            let later = try CheckpointClaim.take(CheckpointDirectory(directory), run: "tiny", incarnation: 9)
            try later.check()
        }
        for (rank, result) in results.enumerated() {
            guard case .failure(let error as JobFailure) = result else {
                Issue.record("rank \(rank): \(result)")
                continue
            }
            #expect(error.exitCode == 77)
            if rank == 0 { #expect("\(error)".contains("incarnation 9") && "\(error)".contains("incarnation 1 ends")) }
        }
        #expect(try CheckpointDirectory(directory).steps().isEmpty)
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: directory).sorted() == [".lock", "incarnation.json"])
        _ = try train(Setting(), directory: directory, steps: 1)
        #expect(try Checkpoint(path: "\(directory)/step-1").manifest.incarnation == 10)
    }

    /// A job before that goes on while this one starts may write a checkpoint after this one has looked for the newest.
    @Test(arguments: [nil, 0]) func aCheckpointThatCameSinceIsNotLeftBehind(resumed: Int?) throws {
        let directory = fixture.path("checkpoints")
        _ = try train(Setting(), directory: directory, steps: 1)
        let codes = try ThreadCommunicator.run(worldSize: 2) { communicator -> Int32 in
            do {
                _ = try CheckpointSaver(
                    CheckpointDirectory(directory), run: "tiny", incarnation: 7, keep: 1, resumed: resumed,
                    communicator: communicator)
                return 0
            } catch let failure as JobFailure {
                if communicator.rank == 0 { #expect("\(failure)".contains("\(directory)/step-1"), "\(failure)") }
                return failure.exitCode
            }
        }
        #expect(codes == [75, 75])
    }
}
