import Foundation
import MessagePassing
import TestSupport
import Testing
import WorkerRuntime

/// The table and TensorBoard's events have what the JSON lines have.
@Suite struct StepLogsTests {
    private static let phases = ["attention", "router", "dispatch", "experts", "combine", "gradients", "optimizer"]
    private let fixture: TrainingFixture
    private let table: String
    private let events: String

    init() throws {
        fixture = try TrainingFixture()
        table = fixture.path("metrics.csv")
        events = fixture.path("events")
    }

    /// What JSON lines say of each step, the last time it was done.
    private func train(
        worldSize: Int = 2, steps: Int = 12, checkpoints: String? = nil,
        change: (inout TrainingOptions) -> Void = { _ in }
    ) throws -> [StepMetrics] {
        try fixture.train(worldSize: worldSize, steps: steps) { options in
            options.csv = table
            options.tensorBoard = events
            options.run = "mine"
            options.logInterval = 4
            options.evaluationInterval = 5
            options.checkpointDirectory = checkpoints
            options.checkpointInterval = checkpoints == nil ? 0 : 5
            change(&options)
        }
    }

    /// The table's rows, by column; empty cells are nil.
    private func rows() throws -> [[String: Double?]] {
        let lines = try String(contentsOfFile: table, encoding: .utf8).split(separator: "\n")
            .map { $0.split(separator: ",", omittingEmptySubsequences: false) }
        let header = try #require(lines.first)
        return lines.dropFirst().map { cells in
            #expect(cells.count == header.count)
            return Dictionary(uniqueKeysWithValues: zip(header.map(String.init), cells.map { Double($0) }))
        }
    }

    private func expectTable(_ expected: [StepMetrics]) throws {
        let rows = try rows()
        #expect(rows.map { $0["step"] } == expected.map { Double($0.step) })
        for (row, metrics) in zip(rows, expected) {
            #expect(row["loss"] == metrics.loss && row["aux_loss"] == metrics.auxiliaryLoss)
            #expect(row["grad_norm"] == metrics.gradientNorm && row["learning_rate"] == metrics.learningRate)
            #expect(row["validation_loss"] == .some(metrics.validationLoss))
            #expect(row["tokens_per_second"] == metrics.tokensPerSecond && row["step_seconds"] == metrics.stepSeconds)
            #expect(row["plan_revision"] == Double(metrics.planRevision))
            #expect(row["bytes_sent"] == Double(metrics.bytesSent))
            #expect(row["resident_bytes"] == Double(metrics.residentBytes))
            for phase in Self.phases { #expect(row["\(phase)_seconds"] == .some(metrics.phaseSeconds[phase])) }
            #expect(row["balance"] == balance(metrics.ranks.expertSeconds))
            let balances = metrics.expertLoad.map { balance($0.map(Double.init)) }
            #expect(row["load_balance"] == balances.reduce(0, +) / Double(balances.count))
        }
    }

    private func expectEvents(_ expected: [StepMetrics], histogramSteps: [Int]) throws {
        let found = try TensorBoardEvents(directory: events + "/mine")
        func expect(_ tag: String, _ value: (StepMetrics) -> Double?) {
            let curve = expected.compactMap { metrics in
                value(metrics).map { [Double(metrics.step), Double(Float($0))] }
            }
            #expect(found.scalars[tag] == curve, "\(tag)")
        }
        expect("train/loss", \.loss)
        expect("train/tokens_per_second", \.tokensPerSecond)
        expect("train/grad_norm", \.gradientNorm)
        expect("validation/loss", \.validationLoss)
        expect("placement/revision") { Double($0.planRevision) }
        expect("moe/balance") { balance($0.ranks.expertSeconds) }
        for phase in Self.phases { expect("phase/\(phase)_seconds") { $0.phaseSeconds[phase] } }
        for layer in expected[0].expertLoad.indices {
            func loads(_ metrics: StepMetrics) -> [Double] { metrics.expertLoad[layer].map(Double.init) }
            expect("moe/load_balance/layer_\(layer)") { balance(loads($0)) }
            let histograms = found.histograms["moe/expert_load/layer_\(layer)"] ?? []
            #expect(histograms.map(\.step) == histogramSteps)
            let counted = expected.filter { histogramSteps.contains($0.step) }.map(loads)
            #expect(histograms.map(\.largest) == counted.map { $0.max() })
            #expect(histograms.map(\.sum) == counted.map { $0.reduce(0, +) })
        }
    }

    private func balance(_ values: [Double]) -> Double {
        values.reduce(0, +) / Double(values.count) / (values.max() ?? 0)
    }

    @Test(arguments: [1, 2]) func theSameNumbersEverywhere(worldSize: Int) throws {
        let metrics = try train(worldSize: worldSize)
        #expect(metrics.count == 12)
        try expectTable(metrics)
        try expectEvents(metrics, histogramSteps: [4, 8, 12])
    }

    /// A run that a crash threw back to its checkpoint after step 5, on other ranks then.
    @Test func stepsThatAreDoneAgainCountOnce() throws {
        let checkpoints = fixture.path("checkpoints")
        let before = try train(checkpoints: checkpoints)
        for step in [10, 12] { try FileManager.default.removeItem(atPath: "\(checkpoints)/step-\(step)") }
        // In the middle of a row.
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: table))
        try file.truncate(atOffset: file.seekToEnd() - 7)
        try file.close()
        let after = try train(worldSize: 3, steps: 9, checkpoints: checkpoints) { $0.schedule.learningRate = 1e-3 }
        #expect(after.map(\.step) == [6, 7, 8, 9] && after.last?.loss != before[8].loss)
        try expectTable(before.prefix(5) + after)
        try expectEvents(before.prefix(5) + after, histogramSteps: [4, 8])
        // Nothing to do, nothing to write.
        let files = try FileManager.default.contentsOfDirectory(atPath: events + "/mine").sorted()
        #expect(try train(steps: 9, checkpoints: checkpoints).isEmpty)
        #expect(try FileManager.default.contentsOfDirectory(atPath: events + "/mine").sorted() == files)
        try expectTable(before.prefix(5) + after)
    }

    /// A run that begins anew keeps another's table under another name.
    @Test func aNewRunSetsAnOldTableAside() throws {
        let first = try train(steps: 3)
        let old = try Data(contentsOf: URL(fileURLWithPath: table))
        let second = try train(steps: 2) { $0.seed += 1 }
        #expect(second[0].loss != first[0].loss)
        try expectTable(second)
        try expectEvents(second, histogramSteps: [])
        #expect(try Data(contentsOf: URL(fileURLWithPath: table + ".old")) == old)
    }

    /// Files are read back in blocks of 65,536 bytes.
    @Test(arguments: [0, 1, 3], [0, 1, 65_535, 65_536, 65_537, 200_000])
    func aLineThatWasCutShortGoes(wholeLines: Int, tornBytes: Int) throws {
        let file = URL(fileURLWithPath: fixture.path("lines.jsonl"))
        let whole = Data(String(repeating: "{\"step\":0}\n", count: wholeLines).utf8)
        let old = whole + Data(repeating: 0x7B, count: tornBytes)
        try old.write(to: file)
        let lines = try JSONLinesFile(path: file.path, flag: "--metrics")
        // The start of the run before may still be writing.
        #expect(try Data(contentsOf: file) == old)
        for step in [1, 2] { try lines.append(["step": step]) }
        #expect(try Data(contentsOf: file) == whole + Data("{\"step\":1}\n{\"step\":2}\n".utf8))
    }

    @Test func otherTextStays() throws {
        let file = URL(fileURLWithPath: fixture.path("notes"))
        try Data("one\ntwo".utf8).write(to: file)
        try JSONLinesFile(path: file.path, flag: "--metrics").append(["step": 1])
        #expect(try String(contentsOf: file, encoding: .utf8) == "one\ntwo{\"step\":1}\n")
        try Data("{\"vocabulary_size\":65}".utf8).write(to: file)
        try JSONLinesFile(path: file.path, flag: "--metrics").append(["step": 1])
        #expect(try String(contentsOf: file, encoding: .utf8) == "{\"vocabulary_size\":65}\n{\"step\":1}\n")
    }

    @Test func devicesTakeLines() throws {
        try JSONLinesFile(path: "/dev/null", flag: "--metrics").append(["step": 1])
    }

    @Test(.enabled(if: FullDevice.isPossible, "devices can be made by root only"))
    func linesWithoutRoomAreErrors() throws {
        let device = fixture.path("full")
        FullDevice.make(device)
        let error = #expect(throws: WorkerError.self) {
            try JSONLinesFile(path: device, flag: "--metrics").append(["step": 1])
        }
        #expect(error?.description.hasPrefix("cannot write to \(device): ") == true)
        #expect(FullDevice.isThere(device))
    }

    /// Numbers that are not finite stand there as such; JSON has none.
    @Test func skippedStepsAreThere() throws {
        let metrics = try train { options in
            options.schedule.learningRate = 1e30
            options.onNonFinite = .skip
            options.evaluationInterval = 0
        }
        #expect(metrics.contains { $0.skippedSteps > 0 })
        let rows = try rows()
        #expect(rows.map { $0["skipped_steps"] } == metrics.map { Double($0.skippedSteps) })
        for (row, line) in zip(rows, metrics) { #expect((row["loss"] ?? nil)?.isFinite == line.loss.isFinite) }
    }

    @Test(arguments: [
        ("a,b\n1,2\n", "is no table of this version's columns; choose another file for --csv"), ("notes", "--csv"),
    ])
    func otherFilesAreLeftAlone(content: String, complaint: String) throws {
        try Data(content.utf8).write(to: URL(fileURLWithPath: table))
        let reason = try failure { _ in }
        #expect(reason.contains(table) && reason.contains(complaint), "\(reason)")
        #expect(try String(contentsOfFile: table, encoding: .utf8) == content)
    }

    @Test func damagedTablesAreLeftAlone() throws {
        _ = try train(steps: 2)
        let content = try String(contentsOfFile: table, encoding: .utf8) + "and more\n"
        try Data(content.utf8).write(to: URL(fileURLWithPath: table))
        let reason = try failure { _ in }
        #expect(reason.contains("a row without a step") && reason.contains("--csv"), "\(reason)")
        #expect(try String(contentsOfFile: table, encoding: .utf8) == content)
    }

    @Test func whatCannotBeWrittenIsNamed() throws {
        for (flag, change) in [
            ("--csv", { $0.csv = "/nonexistent/a.csv" }),
            ("--tensorboard", { $0.tensorBoard = "/dev/null/events" }),
            ("--tensorboard", { $0.tensorBoard = fixture.path("train.bin") }),
            ("--csv out.CSV", { $0.metrics = "out.CSV" }),
        ] as [(String, (inout TrainingOptions) -> Void)] {
            let reason = try failure(change)
            #expect(reason.contains(flag), "\(reason)")
        }
    }

    @Test(.enabled(if: FullDevice.isPossible, "devices can be made by root only"))
    func aTableWithoutRoomIsNamed() throws {
        let device = fixture.path("full")
        FullDevice.make(device)
        let reason = try failure { $0.csv = device }
        #expect(reason.contains("--csv") && reason.contains(device), "\(reason)")
        #expect(FullDevice.isThere(device))
    }

    /// Why two ranks end, which one of them tells.
    private func failure(_ change: (inout TrainingOptions) -> Void) throws -> String {
        var options = fixture.options(steps: 3)
        (options.csv, options.tensorBoard) = (table, events)
        change(&options)
        let final = options
        let results = try outcomes(worldSize: 2) { communicator in
            try Trainer(options: final, communicator: communicator, nodes: communicator.nodes()).run()
        }
        let reasons = results.compactMap { result -> String? in
            guard case .failure(let error) = result else { return nil }
            return (error as? JobFailure)?.reason.map { "\($0)" }
        }
        #expect(reasons.count == 1, "\(results)")
        return reasons.first ?? ""
    }
}
