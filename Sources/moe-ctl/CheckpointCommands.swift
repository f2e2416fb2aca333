import ArgumentParser
import Checkpoints
import ControlProtocol
import ExpertPlacement
import Foundation
import Listings
import Mixtral

struct CheckpointCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "checkpoint", abstract: "Look at the checkpoints of a run, check them, and make models of them.",
        subcommands: [List.self, Verify.self, Export.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "List the checkpoints in a directory, or those that a run told of.",
            discussion: """
                With a directory, lists what is there, without a coordinator. Without one, asks the coordinator which checkpoints \
                the run has written; older ones may be gone by now.
                """)

        @Argument(help: ArgumentHelp("The directory, as in moe-worker --checkpoint-directory.", valueName: "dir"))
        var directory: String?
        @Option(help: "Name of the run (default: the one that was started last).")
        var run: String?
        @OptionGroup var coordinator: CoordinatorOptions
        @OptionGroup var output: ListingOptions
        @OptionGroup var watch: WatchOptions

        func validate() throws {
            if directory != nil, run != nil {
                throw ValidationError("give a directory, or --run to ask the coordinator")
            }
        }

        func run() async throws {
            if let directory { return try await watch.show(output) { try listing(of: directory) } }
            let name = try await coordinator.ask { try await $0.chooseRun(run) }
            try await watch.show(output) { try await recorded(by: name) }
        }

        private func listing(of directory: String) throws -> Listing {
            guard FileManager.default.fileExists(atPath: directory) else {
                throw CommandFailure(
                    "there is no \(directory), or it is not for you to see; a run's checkpoints are listed with --run")
            }
            let all = CheckpointDirectory(directory)
            var listing = [CheckpointDescription]()
            var notes = [String]()
            for step in try all.steps().reversed() {
                let path = all.path(ofStep: step)
                do {
                    listing.append(CheckpointDescription(try Checkpoint(path: path), isVerified: false))
                } catch {
                    notes.append("\(error)")
                    listing.append(CheckpointDescription(path: path, step: step))
                }
            }
            let text = try output.text(of: listing) {
                var table = Table(
                    [
                        ("STEP", .right), ("RUN", .left), ("INCARNATION", .right), ("RANKS", .right), ("PLAN", .right),
                        ("SIZE", .right), ("FILES", .right), ("CREATED", .left),
                    ], whenEmpty: "no checkpoints")
                for item in listing {
                    table.add([
                        "\(item.step)", item.run ?? "damaged", Readable.number(item.incarnation),
                        Readable.number(item.worldSize), Readable.number(item.planRevision), Readable.bytes(item.bytes),
                        Readable.number(item.files), item.createdAt ?? Readable.nothing,
                    ])
                }
                return [table]
            }
            return Listing(text: text, notes: notes)
        }

        private func recorded(by run: String) async throws -> Listing {
            let reply = try await coordinator.ask { client in
                try await client.listingRunsIfUnknown { try await client.send(ListCheckpoints(run: run)) }
            }
            let text = try output.text(of: reply) {
                var table = Table(
                    [
                        ("STEP", .right), ("INCARNATION", .right), ("SIZE", .right), ("TIME", .right),
                        ("RECORDED", .right),
                        ("PATH", .left),
                    ], whenEmpty: "no checkpoints")
                for item in reply.checkpoints {
                    table.add([
                        "\(item.step)", "\(item.incarnation)", Readable.bytes(item.bytes),
                        Readable.seconds(item.seconds), Readable.age(item.recordedAt), item.path,
                    ])
                }
                return [table]
            }
            let note = "there are more checkpoints; the coordinator lists the last \(reply.checkpoints.count)."
            return Listing(text: text, notes: reply.truncated ? [note] : [])
        }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "verify", abstract: "Read every file of a checkpoint, and hold it against its hash.")

        @Argument(help: ArgumentHelp("The checkpoint, <dir>/step-<n>.", valueName: "checkpoint"))
        var path: String
        @OptionGroup var output: ListingOptions

        func run() async throws {
            let checkpoint = try Checkpoint(path: path)
            try checkpoint.verify()
            // The hashes fit; so should what the files say, and nothing else may be read in their place.
            _ = try MixtralCheckpoint(directory: path, files: checkpoint.manifest.fileNames)
            _ = try OptimizerState(checkpoint)
            let description = CheckpointDescription(checkpoint, isVerified: true)
            try output.write(description) { [.details(description.details)] }
        }
    }

    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "export",
            abstract:
                "Copy a checkpoint's model, without the optimizer's state, as Hugging Face's transformers has it.",
            discussion: """
                moe-worker generate --model and transformers read the checkpoint itself as well; the copy is about a third of \
                its size. Every file is held against its hash on the way.
                """)

        @Argument(help: ArgumentHelp("The checkpoint, <dir>/step-<n>.", valueName: "checkpoint"))
        var path: String
        @Argument(help: ArgumentHelp("The new directory.", valueName: "model"))
        var target: String
        @Flag(help: "Change nothing; show what would be.")
        var dryRun = false
        @OptionGroup var output: ListingOptions

        func run() async throws {
            try OutputDirectory.check(target)
            let checkpoint = try Checkpoint(path: path)
            let files = dryRun ? checkpoint.modelFiles : try checkpoint.export(to: target)
            try output.write(Exported(model: target, files: files)) {
                [
                    .details(
                        [
                            ("Model", target), ("Step", "\(checkpoint.manifest.step)"), ("Files", "\(files.count)"),
                            ("Size", Readable.bytes(files.reduce(0) { $0 + $1.bytes })),
                        ], isDryRun: dryRun)
                ]
            }
        }

        private struct Exported: Encodable {
            let model: String
            let files: [CheckpointFile]
        }
    }
}

/// A checkpoint as listings show it.
private struct CheckpointDescription: Encodable {
    let path: String
    let step: Int
    var run: String?
    var incarnation: Int?
    var updates: Int?
    var worldSize: Int?
    /// Nil while a plan was being applied.
    var planRevision: Int?
    var allocator: String?
    var ownership: String?
    var bytes: Int?
    var files: Int?
    var createdAt: String?
    /// Whether every file was read.
    var isVerified: Bool?

    private enum CodingKeys: String, CodingKey {
        case path, step, run, incarnation, updates, allocator, ownership, bytes, files
        case worldSize = "world_size"
        case planRevision = "plan_revision"
        case createdAt = "created_at"
        case isVerified = "verified"
    }

    /// One that cannot be read.
    init(path: String, step: Int) {
        self.path = path
        self.step = step
    }

    init(_ checkpoint: Checkpoint, isVerified: Bool) {
        let manifest = checkpoint.manifest
        path = checkpoint.path
        step = manifest.step
        run = manifest.run
        incarnation = manifest.incarnation
        updates = manifest.updates
        worldSize = manifest.worldSize
        planRevision = manifest.plan.revision == 0 ? nil : manifest.plan.revision
        allocator = manifest.allocator
        ownership = manifest.ownership.rawValue
        bytes = manifest.bytes
        files = manifest.files.count
        createdAt = manifest.createdAt
        self.isVerified = isVerified
    }

    var details: [(name: String, value: String)] {
        [
            ("Checkpoint", path), ("Run", run ?? Readable.nothing), ("Incarnation", Readable.number(incarnation)),
            ("Step", "\(step)"), ("Updates", Readable.number(updates)), ("Ranks", Readable.number(worldSize)),
            ("Placement", planRevision.map { "revision \($0) by \(allocator ?? "")" } ?? "between two plans"),
            ("Optimizer state", ownership ?? Readable.nothing), ("Size", Readable.bytes(bytes)),
            ("Files", "\(Readable.number(files)), all as they were written"),
            ("Created", createdAt ?? Readable.nothing),
        ]
    }
}
