import ControlProtocol
import ControlTestSupport
import Foundation
import TestSupport
import Testing

/// Real ranks, each started by itself, without mpirun.
@Suite(.serialized) struct ApartTests {
    /// A loaded machine may take its time; a rank that waits for ever does not end at all.
    private static let patience = Duration.seconds(20)

    /// The one line that tells of an error.
    private func error(of program: RunningProgram) -> String {
        // Open MPI may have noticed, too, that a peer is gone; its banners are indented.
        let lines = program.text.split(separator: "\n").filter { $0.contains("rror:") && !$0.hasPrefix(" ") }
        #expect(lines.count == 1, "\(program.text)")
        return lines.first.map(String.init) ?? ""
    }

    /// In any order, one of them late: the losses are those of one process.
    @Test func ranksComeTogetherInAnyOrder() throws {
        var random = SeededGenerator(seed: TestRuns.seed())
        let world = try ApartRanks()
        for worldSize in 1...4 {
            let order = (0..<worldSize).shuffled(using: &random)
            let first = try world.start(order[0], of: worldSize, ["--steps": "6"])
            if worldSize > 1 { #expect(first.readLine(containing: " waits for rank") != nil, "\(first.text)") }
            let others = try order.dropFirst().map { try world.start($0, of: worldSize, ["--steps": "6"]) }
            for program in [first] + others { #expect(program.waitForEnd() == 0, "\(order): \(program.text)") }
        }
        let alone = world.losses(1)
        #expect(alone.count == 6)
        for worldSize in 2...4 {
            let losses = world.losses(worldSize)
            #expect(losses.count == alone.count)
            for (loss, expected) in zip(losses, alone) { #expect(abs(loss - expected) <= 1e-5 * expected) }
        }
    }

    /// Whichever rank is killed, the others end by themselves; started again, all train.
    @Test func deathOfAnyRankEndsAll() throws {
        let world = try ApartRanks()
        for victim in 0..<3 {
            let ranks = try world.train(3)
            let start = ContinuousClock.now
            ranks[victim].send(SIGKILL)
            #expect(ranks[victim].waitForEnd() != 0)
            for (rank, program) in ranks.enumerated() where rank != victim {
                #expect(program.waitForEnd() == 1, "\(program.text)")
                #expect(error(of: program).contains("error: rank \(victim) of 3 ("), "\(program.text)")
                #expect(error(of: program).hasSuffix(") is gone"), "\(program.text)")
            }
            #expect(ContinuousClock.now - start < Self.patience)
        }
        for program in try (0..<3).map({ try world.start($0, of: 3) }) {
            #expect(program.waitForEnd() == 0, "\(program.text)")
        }
    }

    /// A process that does not move any more, as on a machine that was unplugged.
    @Test(arguments: [0, 1]) func silenceOfAnyRankEndsAll(victim: Int) throws {
        let world = try ApartRanks()
        let ranks = try world.train(2, ["--rank-timeout": "1"])
        let start = ContinuousClock.now
        ranks[victim].send(SIGSTOP)
        let other = ranks[1 - victim]
        #expect(other.waitForEnd() == 1, "\(other.text)")
        #expect(error(of: other).contains("rank \(victim) of 2 ("), "\(other.text)")
        #expect(error(of: other).contains(") has been silent for "), "\(other.text)")
        #expect(ContinuousClock.now - start < Self.patience)
        // It moves again, and sees that it is alone.
        ranks[victim].send(SIGCONT)
        #expect(ranks[victim].waitForEnd() == 1, "\(ranks[victim].text)")
        #expect(error(of: ranks[victim]).contains("rank \(1 - victim) of 2 ("), "\(ranks[victim].text)")
    }

    /// Rank 0 keeps a connection to each rank, and MPI may keep another, however low the soft limit of open files.
    @Test func rankZeroHasAFileForEachRank() throws {
        let world = try ApartRanks()
        let low = ["prlimit", "--nofile=128:256"]
        let first = try world.start(0, of: 2, ["--steps": "100000000", "--log-interval": "20"], launcher: low)
        try world.start(1, of: 2, ["--steps": "100000000", "--log-interval": "20"])
        #expect(first.readLine(containing: " 20/100000000  loss") != nil, "\(first.text)")
        let limits = try String(contentsOfFile: "/proc/\(first.processIdentifier)/limits", encoding: .utf8)
        let files = limits.split(separator: "\n").first { $0.hasPrefix("Max open files") }?.split(separator: " ")
        #expect(files?.dropFirst(3).prefix(2) == ["256", "256"], "\(limits)")

        let tooMany = try world.start(0, of: 120, launcher: low)
        #expect(tooMany.waitForEnd() == 1, "\(tooMany.text)")
        #expect(error(of: tooMany).contains("each of 120 ranks, "), "\(tooMany.text)")
        #expect(
            error(of: tooMany).contains(
                "needs 272 files, but may have only 256 open; raise the hard limit (ulimit -Hn)"),
            "\(tooMany.text)")
    }

    @Test func aRankThatIsMissingIsNamed() throws {
        let world = try ApartRanks()
        let ranks = try [0, 2].map { try world.start($0, of: 3, ["--rendezvous-timeout": "2"]) }
        for program in ranks {
            #expect(program.waitForEnd() == 69, "\(program.text)")
            #expect(error(of: program).contains("rank 1 did not come"), "\(program.text)")
        }
    }

    @Test func aRankOfAnotherWorldSizeAndASecondOne() throws {
        let world = try ApartRanks()
        let first = try world.start(0, of: 2)
        #expect(first.readLine(containing: " waits for rank 1") != nil, "\(first.text)")
        let other = try world.start(1, of: 3)
        #expect(other.waitForEnd() == 77, "\(other.text)")
        #expect(error(of: other).contains("with --world-size 3, but the ranks that wait with 2"), "\(other.text)")
        let second = try world.start(0, of: 2)
        #expect(first.waitForEnd() == 77, "\(first.text)")
        #expect(error(of: first).contains("another process has come as rank 0 of run apart"), "\(first.text)")
        let last = try world.start(1, of: 2)
        for program in [second, last] { #expect(program.waitForEnd() == 0, "\(program.text)") }
    }

    /// What only some ranks find, and what all do: all end, and each says so in its own log.
    @Test func errorsEndAllRanks() throws {
        let world = try ApartRanks()
        let missing = try (0..<2).map {
            try world.start($0, of: 2, $0 == 1 ? ["--data": "/nonexistent"] : [:])
        }
        for program in missing { #expect(program.waitForEnd() == 1, "\(program.text)") }
        #expect(error(of: missing[0]).contains("rank 1 failed"), "\(missing[0].text)")
        #expect(error(of: missing[1]).contains("/nonexistent/train.bin"), "\(missing[1].text)")
    }

    @Test func underAKey() throws {
        let folder = try WorkerInputs()
        let key = folder.path("key")
        #expect(try CtlProgram(["key", "generate", key]).status == 0)
        let world = try ApartRanks(serve: ["--listen", "127.0.0.2:0", "--key-file", key])
        let ranks = try (0..<2).map { try world.start($0, of: 2, ["--key-file": key, "--rank-host": "127.0.0.1"]) }
        for program in ranks { #expect(program.waitForEnd() == 0, "\(program.text)") }
    }

    @Test func withoutOMPIServer() throws {
        let world = try ApartRanks()
        for (contact, status, words) in [
            ("", 64, "need Open MPI's ompi-server"), ("file:/nonexistent", 69, "/nonexistent, which has nothing"),
            // The discard port, at which nothing listens.
            ("1.0;tcp://127.0.0.1:9", 69, "no ompi-server answers at 127.0.0.1:9"),
        ] {
            let program = try world.start(
                0, of: 2, ["--rendezvous-timeout": "0.5"], variables: ["OMPI_MCA_pmix_server_uri": contact])
            #expect(program.waitForEnd() == Int32(status), "\(program.text)")
            #expect(error(of: program).contains(words), "\(program.text)")
        }
    }

    /// Its machine may start last.
    @Test func anOMPIServerThatComesLate() throws {
        let world = try ApartRanks()
        let file = world.inputs.path("late")
        let variables = ["OMPI_MCA_pmix_server_uri": "file:\(file)"]
        let ranks = try (0..<2).map { try world.start($0, of: 2, variables: variables) }
        for rank in ranks {
            #expect(rank.readLine(containing: "waits for Open MPI's server") != nil, "\(rank.text)")
        }
        try FileManager.default.copyItem(atPath: world.inputs.path("ompi-server"), toPath: file)
        for rank in ranks { #expect(rank.waitForEnd() == 0, "\(rank.text)") }
    }

    /// The coordinator ends and comes back at another port while a rank trains: the reports arrive there.
    @Test func aCoordinatorThatComesBackElsewhere() async throws {
        let inputs = try WorkerInputs()
        let file = inputs.path("address")
        func serve() throws -> (RunningProgram, Endpoint) {
            let program = try RunningProgram(
                "moe-coordinator",
                [
                    "serve", "--database", inputs.path("moe.db"), "--listen", "127.0.0.1:0", "--http", "none",
                    "--address-file", file,
                ])
            let address = try #require(program.readLine(after: "moe-coordinator: listening on "), "\(program.text)")
            return (program, try Endpoint(address))
        }
        let (first, old) = try serve()
        let rank = try RunningProgram(
            "moe-worker",
            inputs.arguments([
                "--steps": "100000000", "--coordinator": "file:\(file)", "--run": "moved", "--report-interval": "1",
                "--log-interval": "100000000",
            ]))
        defer {
            rank.send(SIGKILL)
            _ = rank.waitForEnd()
        }
        #expect(try await step(at: old, after: 0) > 0)
        // Its port may be the next one's, which must not be: it stays taken.
        first.send(SIGKILL)
        _ = first.waitForEnd()
        let (second, new) = try serve()
        defer {
            second.terminate()
            _ = second.waitForEnd()
        }
        let before = try await step(at: new, after: -1)
        #expect(try await step(at: new, after: before) > before)
    }

    /// The last step that rank 0 reported, once it is after `step`.
    private func step(at coordinator: Endpoint, after step: Int) async throws -> Int {
        let deadline = ContinuousClock.now + .seconds(60)
        let client = try await ControlClient.connect(to: coordinator)
        defer { client.close() }
        while ContinuousClock.now < deadline {
            if let reached = try? await client.send(ListWorkers(run: "moved")).workers.first?.step, reached > step {
                return reached
            }
            try await Task.sleep(for: .milliseconds(5))
        }
        throw WorkerInputsError(output: "no report after step \(step) at \(coordinator)")
    }
}
