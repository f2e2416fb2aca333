import Foundation
import Testing

/// Nothing grows while a run goes on: neither the workers nor the coordinator that they report to at every step.
@Suite struct MemoryTests {
    /// Several times what allocators and caches fluctuate by; a leak of 2 KB a step exceeds it.
    static let toleranceBytes = 2 << 20

    @Test func residentMemoryIsFlat() throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("memory-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let model = try writeInputs(in: directory)

        let coordinator = try RunningProgram(
            "moe-coordinator",
            ["serve", "--database", directory.appendingPathComponent("moe.db").path, "--listen", "127.0.0.1:0"])
        defer { coordinator.terminate() }
        let address = try #require(
            coordinator.readLine(after: "moe-coordinator: listening on "), "\(coordinator.text)")

        let metrics = directory.appendingPathComponent("metrics.jsonl").path
        let job = try RunningProgram(
            "moe-worker",
            [
                "--data", directory.path, "--model-config", model, "--steps", "4000", "--batch-size", "4",
                "--sequence-length", "16", "--coordinator", address, "--run", "memory", "--report-interval", "1",
                "--log-interval", "100", "--metrics", metrics,
            ], ranks: 2)
        defer { job.terminate() }
        var samples = [Sample]()
        while let line = job.nextLine() {
            guard let step = Self.step(in: line), step >= 200, step < 4000 else { continue }
            samples.append(Sample(step: step, coordinator: coordinator, job: job))
        }
        #expect(job.waitForEnd() == 0, "\(job.text)")
        coordinator.terminate()
        #expect(coordinator.waitForEnd() == 0, "\(coordinator.text)")

        print("resident bytes: \(samples.map(\.description).joined(separator: "; "))")
        // SQLite's cache of pages, 2,000 KiB, is full after 2,000 steps: the coordinator has nothing to grow by from then on.
        for (isCoordinator, steps) in [(false, 200...1900), (true, 2000...3900)] {
            let first = try #require(samples.first { $0.step == steps.lowerBound }, "\(job.text)")
            let last = try #require(samples.first { $0.step == steps.upperBound }, "\(job.text)")
            #expect(first.bytes.count == 3 && last.bytes.keys.sorted() == first.bytes.keys.sorted())
            for (process, bytes) in first.bytes where (process == "coordinator") == isCoordinator {
                let growth = last.bytes[process, default: 0] - bytes
                #expect(growth <= Self.toleranceBytes, "\(process) grew by \(growth) bytes")
            }
        }

        let reported = try Self.residentBytes(inMetrics: metrics)
        #expect(reported.count == 4000)
        let growth = reported[1999] - reported[199]
        #expect(reported[199] > 0 && growth <= Self.toleranceBytes, "rank 0 says that it grew by \(growth) bytes")
    }

    /// What each process holds when rank 0 has printed a step's line.
    struct Sample: CustomStringConvertible {
        let step: Int
        let bytes: [String: Int]

        init(step: Int, coordinator: RunningProgram, job: RunningProgram) {
            self.step = step
            var bytes = [String: Int]()
            bytes["coordinator"] = ProcessTable.residentBytes(of: coordinator.processIdentifier)
            for worker in ProcessTable.children(of: job.processIdentifier) {
                bytes["worker \(worker)"] = ProcessTable.residentBytes(of: worker)
            }
            self.bytes = bytes
        }

        var description: String {
            "step \(step) " + bytes.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
        }
    }

    /// "step  200/2000  loss …"
    static func step(in line: String) -> Int? {
        guard line.hasPrefix("step "), let slash = line.firstIndex(of: "/") else { return nil }
        return Int(line[..<slash].dropFirst(5).filter { $0 != " " })
    }

    static func residentBytes(inMetrics path: String) throws -> [Int] {
        struct Line: Decodable {
            var residentBytes: Int
        }
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
            .map { try decoder.decode(Line.self, from: Data($0.utf8)).residentBytes }
    }

    /// Writes `train.bin` and a configuration, whose path it returns: as small as a model can be that has everything.
    func writeInputs(in directory: URL) throws -> String {
        let tokens = (0..<4096).flatMap { index -> [UInt8] in [UInt8(index * index % 32), 0] }
        try Data(tokens).write(to: directory.appendingPathComponent("train.bin"))
        let configuration = """
            {"model_type": "mixtral", "vocab_size": 32, "hidden_size": 16, "intermediate_size": 16,
             "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "num_local_experts": 4,
             "num_experts_per_tok": 2, "max_position_embeddings": 16, "hidden_act": "silu", "initializer_range": 0.02,
             "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "router_aux_loss_coef": 0.01, "sliding_window": null,
             "tie_word_embeddings": false}
            """
        let path = directory.appendingPathComponent("config.json")
        try configuration.write(to: path, atomically: true, encoding: .utf8)
        return path.path
    }
}
