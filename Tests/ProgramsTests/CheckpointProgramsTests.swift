import Checkpoints
import ControlTestSupport
import Foundation
import TestSupport
import Testing

/// `moe-worker` as it is interrupted, killed and started again; and `moe-ctl checkpoint`.
@Suite(.serialized) struct CheckpointProgramsTests {
    private let inputs: WorkerInputs
    private var checkpoints: String { inputs.path("checkpoints") }

    init() throws { inputs = try WorkerInputs() }

    private func job(
        steps: Int = 12, ranks: Int? = 2, directory: String? = nil, _ changes: [String: String?] = [:],
        variables: [String: String] = [:]
    ) throws -> RunningProgram {
        let own: [String: String?] = [
            "--steps": "\(steps)", "--checkpoint-directory": directory ?? checkpoints,
            "--metrics": inputs.path("metrics.jsonl"), "--learning-rate": "0.01",
        ]
        return try RunningProgram(
            "moe-worker", inputs.arguments(own.merging(changes) { $1 }), ranks: ranks, timeLimitSeconds: 120,
            variables: variables)
    }

    /// The losses of a run that nobody disturbs, by step.
    private func undisturbed(steps: Int) throws -> [Int: Double] {
        let metrics = "undisturbed.jsonl"
        let whole = try job(
            steps: steps, ranks: nil, ["--checkpoint-directory": nil, "--metrics": inputs.path(metrics)])
        #expect(whole.waitForEnd() == 0, "\(whole.text)")
        return Dictionary(inputs.losses(metrics).map { ($0.step, $0.loss) }, uniquingKeysWith: { $1 })
    }

    /// Every line of the metrics, whichever start wrote it, is that of the undisturbed run.
    private func expectUndisturbed(steps: Int, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let expected = try undisturbed(steps: steps)
        let found = inputs.losses("metrics.jsonl")
        #expect(Set(found.map(\.step)) == Set(1...steps), sourceLocation: sourceLocation)
        for (step, loss) in found {
            let other = try #require(expected[step])
            #expect(
                abs(loss - other) < 1e-4, "step \(step): \(loss), undisturbed \(other)", sourceLocation: sourceLocation)
        }
    }

    /// Processes of the job's ranks.
    private func ranks(of job: RunningProgram) -> [Int32] {
        ProcessTable.children(of: job.processIdentifier)
    }

    // MARK: - Signals

    @Test func stopsOnSIGTERMAndGoesOn() throws {
        let first = try job(steps: 4000)
        _ = first.readLine(after: "step    3/4000")
        let rank = try #require(ranks(of: first).last)
        kill(rank, SIGTERM)
        #expect(first.waitForEnd() == 75, "\(first.text)")
        let stopped = try #require(try CheckpointDirectory(checkpoints).steps().last)
        #expect(first.text.contains("stopped after step \(stopped); start it again to go on"), "\(first.text)")
        #expect(!first.text.contains("rror:"))
        let steps = stopped + 5
        let second = try job(steps: steps, ranks: 3)
        #expect(second.waitForEnd() == 0, "\(second.text)")
        #expect(second.text.contains("goes on after step \(stopped) from \(checkpoints)/step-\(stopped)"))
        try expectUndisturbed(steps: steps)
    }

    @Test func savesOnSIGUSR1() throws {
        let running = try job(steps: 4000)
        _ = running.readLine(after: "step    3/4000")
        kill(try #require(ranks(of: running).first), SIGUSR1)
        let line = try #require(running.readLine(after: "step "), "\(running.text)")
        var saved = line
        while !saved.contains(": checkpoint ") { saved = try #require(running.nextLine(), "\(running.text)") }
        #expect(try CheckpointDirectory(checkpoints).steps().count == 1)
        // mpirun hands SIGTERM on, when it is given the time.
        for rank in ranks(of: running) { kill(rank, SIGTERM) }
        #expect(running.waitForEnd() == 75, "\(running.text)")
        #expect(try CheckpointDirectory(checkpoints).steps().count == 2)
    }

    /// Ctrl-C, where no mpirun is there to hand SIGTERM on; twice: at once.
    @Test(arguments: [1, 2])
    func stopsOnSIGINT(times: Int) throws {
        // Whoever started the tests in the background of a shell has it ignored, and so would the job.
        let former = signal(SIGINT, SIG_DFL)
        defer { signal(SIGINT, former) }
        let running = try job(steps: 1 << 30, ranks: nil)
        _ = running.readLine(after: "step")
        for _ in 0..<times { kill(running.processIdentifier, SIGINT) }
        let status = running.waitForEnd()
        // Two that come before the process runs again are one.
        if times == 1 || status == 75 {
            #expect(status == 75, "\(running.text)")
            #expect(try CheckpointDirectory(checkpoints).steps().count == 1)
        } else {
            #expect(status == SIGINT, "\(running.text)")
        }
    }

    /// No step ends while one rank stands still: the first SIGINT waits for one, and the second does not.
    @Test func aSecondSIGINTEndsAtOnce() throws {
        let former = signal(SIGINT, SIG_DFL)
        defer { signal(SIGINT, former) }
        let running = try job(steps: 1 << 30)
        _ = running.readLine(after: "step")
        let all = ranks(of: running)
        try #require(all.count == 2)
        // Until the processes end, nobody else has their numbers.
        defer { if running.isRunning { for rank in all { kill(rank, SIGKILL) } } }
        kill(all[1], SIGSTOP)
        kill(all[0], SIGINT)
        // The kernel takes the handler away as it calls it.
        let end = ContinuousClock.now + .seconds(30)
        while ProcessTable.catches(SIGINT, all[0]) == true {
            try #require(ContinuousClock.now < end, "the handler stays")
            usleep(1000)
        }
        kill(all[0], SIGINT)
        #expect(running.waitForEnd() == 128 + SIGINT, "\(running.text)")
        #expect(running.text.contains("exited on signal 2"), "\(running.text)")
        #expect(try CheckpointDirectory(checkpoints).steps().isEmpty)
    }

    @Test func withoutCheckpointsSIGTERMEnds() throws {
        let running = try job(steps: 1 << 30, ranks: nil, ["--checkpoint-directory": nil])
        _ = running.readLine(after: "step")
        kill(running.processIdentifier, SIGTERM)
        #expect(running.waitForEnd() == SIGTERM)
    }

    // MARK: - Kills

    /// The process ends before each operation of the second checkpoint and of what follows it; the one before is whole then, or
    /// the second is, and the run goes on from it.
    @Test func killedBeforeEveryOperationOfACheckpoint() throws {
        let expected = try undisturbed(steps: 6)
        var operation = 1
        var newest = [Int: Int]()
        while true {
            let directory = inputs.path("killed-\(operation)")
            let changes = ["--checkpoint-interval": "2", "--checkpoint-keep": "1", "--allocator": "replicated"]
            let killed = try job(
                steps: 4, ranks: nil, directory: directory, changes, variables: ["MOE_FAILPOINT": "disk:\(operation)"])
            let status = killed.waitForEnd()
            let all = CheckpointDirectory(directory)
            // Whatever has its name is whole.
            for step in try all.steps() { try all.checkpoint(ofStep: step).verify() }
            let last = try all.steps().last ?? 0
            newest[last, default: 0] += 1
            if status == 0 { break }
            #expect(status == SIGKILL, "\(killed.text)")
            // Every third is started again, to the end.
            if operation % 3 == 0 {
                let metrics = "again-\(operation).jsonl"
                let again = try job(
                    steps: 6, ranks: nil, directory: directory,
                    changes.merging(["--metrics": inputs.path(metrics)]) { $1 })
                #expect(again.waitForEnd() == 0, "\(again.text)")
                let rest = inputs.losses(metrics)
                #expect(rest.map(\.step) == Array(last + 1...6), "\(again.text)")
                for (step, loss) in rest { #expect(abs(loss - (expected[step] ?? 0)) < 1e-4, "step \(step)") }
                #expect(
                    try FileManager.default.contentsOfDirectory(atPath: directory).sorted() == [
                        ".lock", "incarnation.json", "step-6",
                    ])
            }
            operation += 1
            try #require(operation < 200)
        }
        // Of the first checkpoint, of the second, and after it.
        #expect(Set(newest.keys) == [0, 2, 4])
        #expect(newest.values.allSatisfy { $0 >= 3 }, "\(newest)")
    }

    /// Whoever still writes there finds that another start has taken the directory, before its files go.
    @Test func theClaimComesBeforeTheFilesOfTheOneBeforeGo() throws {
        let former = #"{"id":"former","incarnation":3,"run":"small"}"#
        var isGone = false
        for operation in 1...20 where !isGone {
            let directory = inputs.path("taken-\(operation)")
            let partial = "\(directory)/.step-9.former.partial"
            try FileManager.default.createDirectory(atPath: partial, withIntermediateDirectories: true)
            try Data("x".utf8).write(to: URL(fileURLWithPath: "\(partial)/model.safetensors"))
            let claim = URL(fileURLWithPath: "\(directory)/incarnation.json")
            try Data(former.utf8).write(to: claim)
            let killed = try job(
                steps: 1, ranks: nil, directory: directory, variables: ["MOE_FAILPOINT": "disk:\(operation)"])
            #expect(killed.waitForEnd() == SIGKILL, "\(killed.text)")
            isGone = !FileManager.default.fileExists(atPath: "\(partial)/model.safetensors")
            if isGone { #expect(try String(contentsOf: claim, encoding: .utf8) != former, "operation \(operation)") }
        }
        #expect(isGone)
    }

    /// Each directory that is made is on the disk before the next is.
    @Test func directoriesAreMadeOneByOne() throws {
        let root = inputs.path("made")
        for (operation, expected) in [[], ["a"], ["a"], ["a", "a/b"], ["a", "a/b"], ["a", "a/b", "a/b/c"]].enumerated()
        {
            try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: false)
            let killed = try job(
                ranks: nil, directory: "\(root)/a/b/c", variables: ["MOE_FAILPOINT": "disk:\(operation + 1)"])
            #expect(killed.waitForEnd() == SIGKILL, "\(killed.text)")
            #expect(try FileManager.default.subpathsOfDirectory(atPath: root).sorted() == expected)
            try FileManager.default.removeItem(atPath: root)
        }
    }

    /// A rank is killed at some moment, also while a checkpoint is written, and the job is started again with as many ranks or
    /// others, until it is through.
    @Test func aRankIsKilledAtRandomMoments() throws {
        var random = SeededGenerator(seed: TestRuns.seed())
        let kills = TestRuns.count(4, soak: 60)
        var last = 0
        for round in 0..<kills {
            let worldSize = Int.random(in: 1...3, using: &random)
            let running = try job(
                steps: 100_000, ranks: worldSize, ["--checkpoint-interval": "1", "--checkpoint-keep": "2"])
            let target = last + Int.random(in: 1...6, using: &random)
            // Some lines later, some time into the step or its checkpoint.
            var seen = running.nextLine()
            while let line = seen, !line.hasPrefix("step") || !line.contains(" \(target)/") {
                seen = running.nextLine()
            }
            try #require(seen != nil, "\(running.text)")
            usleep(UInt32.random(in: 0...20_000, using: &random))
            let victim = ranks(of: running).randomElement(using: &random)
            kill(try #require(victim, "\(running.text)"), SIGKILL)
            #expect(running.waitForEnd() != 0, "round \(round)")
            #expect(!running.hasTimedOut, "round \(round): \(running.text)")
            let directory = CheckpointDirectory(checkpoints)
            for step in try directory.steps() { try directory.checkpoint(ofStep: step).verify() }
            let newest = try directory.steps().last ?? 0
            #expect(newest >= last)
            last = newest
        }
        // Beyond the steps that a killed job did after its last checkpoint.
        let end = try job(steps: last + 20, ranks: 2)
        #expect(end.waitForEnd() == 0, "\(end.text)")
        try expectUndisturbed(steps: last + 20)
    }

    /// A job that was started again elsewhere, while the one before stands still and then goes on: the former one ends, told by the
    /// coordinator, or by the directory when it writes its next checkpoint there.
    @Test(arguments: [false, true]) func aPredecessorThatStillRunsEnds(hasCoordinator: Bool) throws {
        var access = [String: String]()
        var coordinator: RunningProgram?
        defer { coordinator?.terminate() }
        if hasCoordinator {
            let server = try RunningProgram(
                "moe-coordinator", ["serve", "--database", inputs.path("moe.db"), "--listen", "127.0.0.1:0"])
            coordinator = server
            let address = try #require(server.readLine(after: "moe-coordinator: listening on "), "\(server.text)")
            access = ["--coordinator": address, "--run": "small"]
        }
        let first = try job(
            steps: 1 << 30, access.merging(["--checkpoint-interval": hasCoordinator ? "0" : "10"]) { $1 })
        _ = first.readLine(after: "step")
        let former = ranks(of: first)
        #expect(former.count == 2)
        kill(former[0], SIGUSR1)
        _ = first.readLine(containing: ": checkpoint ")
        for rank in former { kill(rank, SIGSTOP) }
        let stopped = try #require(try CheckpointDirectory(checkpoints).steps().last)

        let second = try job(steps: stopped + 5, access)
        #expect(second.waitForEnd() == 0, "\(second.text)")
        let steps = try CheckpointDirectory(checkpoints).steps()
        for rank in former { kill(rank, SIGCONT) }
        #expect(first.waitForEnd() == 77, "\(first.text)")
        let errors = first.text.split(separator: "\n").filter { $0.contains("rror:") }
        #expect(errors.count == 1, "\(first.text)")
        // It has left nothing behind.
        #expect(try CheckpointDirectory(checkpoints).steps() == steps)
        for step in steps { try CheckpointDirectory(checkpoints).checkpoint(ofStep: step).verify() }
    }

    // MARK: - moe-ctl

    @Test func checkpointsAreListedVerifiedAndExported() throws {
        let trained = try job(steps: 6, ["--checkpoint-interval": "3"])
        #expect(trained.waitForEnd() == 0, "\(trained.text)")
        let list = try CtlProgram(["checkpoint", "list", checkpoints])
        #expect(list.status == 0 && list.errors.isEmpty, "\(list.errors)")
        #expect(list.output.hasPrefix("STEP   RUN "), "\(list.output)")
        #expect(list.output.split(separator: "\n").dropFirst().map { $0.split(separator: " ")[0] } == ["6", "3"])
        let verified = try CtlProgram(["checkpoint", "verify", "\(checkpoints)/step-3", "-o", "json"])
        #expect(verified.status == 0 && verified.output.contains(#""verified" : true"#), "\(verified.errors)")

        // Readers would prefer it to the parts.
        let surplus = "\(checkpoints)/step-3/model.safetensors"
        try FileManager.default.copyItem(
            atPath: "\(checkpoints)/step-3/model-00001-of-00002.safetensors", toPath: surplus)
        let refused = try CtlProgram(["checkpoint", "verify", "\(checkpoints)/step-3"])
        #expect(refused.status == 1 && refused.errors.hasPrefix("Error: \(surplus) is not listed"), "\(refused.errors)")
        try FileManager.default.removeItem(atPath: surplus)
        // A name that is not its own.
        try FileManager.default.copyItem(atPath: "\(checkpoints)/step-3", toPath: "\(checkpoints)/step-99")
        let renamed = try CtlProgram(["checkpoint", "list", checkpoints])
        #expect(renamed.output.contains("99   damaged") && renamed.errors.contains("is of step 3"), "\(renamed.errors)")
        #expect(try CtlProgram(["checkpoint", "verify", "\(checkpoints)/step-99"]).status == 1)
        try FileManager.default.removeItem(atPath: "\(checkpoints)/step-99")

        let model = inputs.path("model")
        #expect(try CtlProgram(["checkpoint", "export", "\(checkpoints)/step-6", model, "--dry-run"]).status == 0)
        #expect(!FileManager.default.fileExists(atPath: model))
        let exported = try CtlProgram(["checkpoint", "export", "\(checkpoints)/step-6", model])
        #expect(exported.status == 0, "\(exported.errors)")
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: model).sorted() == [
                "config.json", "meta.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                "model.safetensors.index.json",
            ])
        let generate = ["generate", "--prompt", "abc", "--length", "20", "--model"]
        let (one, other) = (
            try RunningProgram("moe-worker", generate + [model]),
            try RunningProgram("moe-worker", generate + ["\(checkpoints)/step-6"])
        )
        #expect(one.waitForEnd() == 0 && other.waitForEnd() == 0 && one.text == other.text, "\(one.text)")
        #expect(try CtlProgram(["checkpoint", "export", "\(checkpoints)/step-6", model]).status == 1)
        // What would be refused is refused in a dry run, too, by the name that was given.
        for (target, words) in [
            (model, "\(model): is there already"), ("", "has no name"),
            (inputs.path("none/model"), "\(inputs.path("none/model")) cannot be made: No such file or directory"),
        ] {
            for options in [[], ["--dry-run"]] {
                let refused = try CtlProgram(["checkpoint", "export", "\(checkpoints)/step-6", target] + options)
                #expect(refused.status == 1 && refused.output.isEmpty)
                #expect(refused.errors.contains(words) && !refused.errors.contains("partial"), "\(refused.errors)")
            }
        }

        let file = "\(checkpoints)/step-3/optimizer-00002-of-00002.safetensors"
        try Data("x".utf8).write(to: URL(fileURLWithPath: file))
        for command in [["verify", "\(checkpoints)/step-3"], ["verify", "\(checkpoints)/step-4"]] {
            let damaged = try CtlProgram(["checkpoint"] + command)
            #expect(damaged.status == 1 && damaged.output.isEmpty)
            #expect(damaged.errors.hasPrefix("Error: \(command[1])/"), "\(damaged.errors)")
        }
    }
}
