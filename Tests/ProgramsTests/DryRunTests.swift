import ExpertPlacement
import Foundation
import Tensors
import Testing

/// `moe-worker --dry-run`: what a run would be.
@Suite(.serialized) struct DryRunTests {
    private let inputs: WorkerInputs

    init() throws { inputs = try WorkerInputs() }

    private struct Answer: Decodable {
        struct Rank: Decodable {
            var totalBytes: Int
            var dataBytes: Int

            private enum CodingKeys: String, CodingKey {
                case totalBytes = "total_bytes"
                case dataBytes = "data_bytes"
            }
        }
        var completedSteps: Int
        var checkpoint: String?
        var memoryLimits: [Int]?
        var plan: PlacementPlan
        var ranks: [Rank]

        private enum CodingKeys: String, CodingKey {
            case checkpoint, plan, ranks
            case completedSteps = "completed_steps"
            case memoryLimits = "memory_limits"
        }
    }

    /// - Parameter ranks: under mpirun.
    private func answer(_ changes: [String: String?] = [:], ranks: Int? = nil) throws -> Answer {
        let program = try RunningProgram(
            "moe-worker", inputs.arguments(changes) + ["--dry-run", "-o", "json"], ranks: ranks)
        #expect(program.waitForEnd() == 0, "\(program.text)")
        return try JSONDecoder().decode(Answer.self, from: Data(program.text.utf8))
    }

    @Test func tellsPeopleAndLeavesNothing() throws {
        let before = try FileManager.default.contentsOfDirectory(atPath: inputs.folder.path).sorted()
        let program = try RunningProgram(
            "moe-worker",
            inputs.arguments([
                "--world-size": "3", "--allocator": "expert-parallel", "--run": "small",
                "--metrics": inputs.path("metrics.jsonl"), "--checkpoint-directory": inputs.path("checkpoints"),
            ]) + ["--dry-run"])
        #expect(program.waitForEnd() == 0, "\(program.text)")
        // Two embeddings, five norms; attention and router of two layers; two times four experts.
        let attention = 16 * 16 + 2 * 8 * 16 + 16 * 16
        let dense = 2 * 17 * 16 + 5 * 16 + 2 * (attention + 4 * 16)
        for line in [
            "Run:                small", "Ranks:              3 on 1 node",
            "Parameters:         \(dense + 6144): \(dense) dense, 6144 of experts; a token meets \(dense + 3072)",
            "Placement:          revision 1 from the allocator expert-parallel",
            "Changed:            nothing, this is a dry run", "0-1     3        1×1    [0]          16      16",
            "RANK   NODE    WEIGHTS   GRADIENTS   OPTIMIZER   ACTIVATIONS      DATA    PROGRAM      TOTAL",
        ] { #expect(program.text.contains(line), "\(line) in \(program.text)") }
        #expect(try FileManager.default.contentsOfDirectory(atPath: inputs.folder.path).sorted() == before)
    }

    /// Rank 0 of a launched job speaks for all, with what the ranks' machines have.
    @Test func underALauncherOneRankSpeaks() throws {
        let launched = try answer(["--allocator": "replicated"], ranks: 2)
        #expect(launched.plan.worldSize == 2 && launched.memoryLimits?.count == 2)
        let alone = try answer(["--allocator": "replicated", "--world-size": "2"])
        #expect(alone.plan == launched.plan && alone.memoryLimits == nil)
        #expect(alone.ranks.map(\.totalBytes) == launched.ranks.map(\.totalBytes))
        let limited = try answer(["--world-size": "2", "--memory-limit": "1000000"])
        #expect(limited.memoryLimits == [1_000_000, 1_000_000])
    }

    /// Nothing is measured yet that a long search would be for: it could not end within this limit.
    @Test func aFirstPlanIsNotSearchedFor() throws {
        let file = inputs.folder.appending(path: "config.json")
        let configuration = try String(contentsOf: file, encoding: .utf8)
        try configuration.replacing("\"num_local_experts\": 4", with: "\"num_local_experts\": 5").write(
            to: file, atomically: true, encoding: .utf8)
        let plan = try answer(["--allocator": "exact:slots=2,limit=1", "--world-size": "3"]).plan
        #expect(plan.layers.allSatisfy { $0.experts.map(\.mesh.ranks) == [[0], [1], [2], [0], [1]] })
    }

    /// Data is counted as large as its files are: two bytes a token, or four when the vocabulary is large.
    @Test func dataTakesWhatItsFilesTake() throws {
        func expectFiles(_ directory: String, _ changes: [String: String?] = [:]) throws -> Int {
            let bytes = try ["train.bin", "val.bin"].reduce(0) {
                $0 + (try Data(contentsOf: URL(fileURLWithPath: "\(directory)/\($1)")).count)
            }
            #expect(try answer(changes).ranks[0].dataBytes == bytes)
            return bytes
        }
        #expect(try expectFiles(inputs.folder.path) == 2 * 2048 + 300)

        let text = inputs.path("text")
        try String(repeating: "to be or not to be ", count: 100).write(toFile: text, atomically: true, encoding: .utf8)
        let learned = try CtlProgram([
            "data", "prepare", text, "--output", inputs.path("small"), "--tokenizer", "bpe", "--vocabulary-size", "270",
        ])
        #expect(learned.status == 0, "\(learned.errors)")
        let tokenizer = URL(fileURLWithPath: inputs.path("small/tokenizer.json"))
        var root = try #require(JSONSerialization.jsonObject(with: Data(contentsOf: tokenizer)) as? [String: Any])
        var model = try #require(root["model"] as? [String: Any])
        var vocabulary = try #require(model["vocab"] as? [String: Int])
        for id in vocabulary.count..<70_000 { vocabulary["unused\(id)"] = id }
        model["vocab"] = vocabulary
        root["model"] = model
        try JSONSerialization.data(withJSONObject: root).write(to: tokenizer)
        let prepared = try CtlProgram([
            "data", "prepare", text, "--output", inputs.path("large"), "--tokenizer", tokenizer.path,
        ])
        #expect(prepared.status == 0, "\(prepared.errors)")
        let file = inputs.folder.appending(path: "config.json")
        let configuration = try String(contentsOf: file, encoding: .utf8)
        try configuration.replacing("\"vocab_size\": 17", with: "\"vocab_size\": 70000").write(
            to: file, atomically: true, encoding: .utf8)
        #expect(try expectFiles(inputs.path("large"), ["--data": inputs.path("large")]) % 4 == 0)
    }

    @Test func aCheckpointIsGoneOnFrom() throws {
        let path = try inputs.checkpoint()
        let directory = ["--checkpoint-directory": inputs.path("checkpoints"), "--steps": "5"]
        let answer = try answer(directory.merging(["--world-size": "4"]) { $1 })
        #expect(answer.completedSteps == 3 && answer.checkpoint == path)
        #expect(answer.plan.worldSize == 4 && answer.plan.revision == 2)
        // What is damaged is told before a job waits in a queue.
        try Data("x".utf8).write(to: URL(fileURLWithPath: "\(path)/config.json"))
        let damaged = try RunningProgram("moe-worker", inputs.arguments(directory.mapValues { $0 }) + ["--dry-run"])
        #expect(damaged.waitForEnd() == 1)
        #expect(
            damaged.text.hasPrefix("moe-worker: error: ") && damaged.text.contains("config.json"), "\(damaged.text)")
        #expect(damaged.text.split(separator: "\n").count == 1, "\(damaged.text)")
    }

    @Test(
        arguments: [
            (["--world-size": "0"], 64, "--world-size must be at least 1"),
            (["--world-size": "20000"], 64, "at most 16384"),
            (["--world-size": "5"], 64, "--batch-size 4"),
            (["--world-size": "12", "--tp": "2"], 64, "fewer sequences than there are tensor-parallel groups (6)"),
            (["--world-size": "4", "--tp": "4"], 64, "use --tp 2 at most"),
            (["--world-size": "2", "--memory-limit": "1000"], 64, "over its limit of 1000"),
            (["--allocator": "best"], 64, "unknown allocator"),
            (["--data": "/nonexistent"], 1, "/nonexistent/train.bin"),
            (["--coordinator": "127.0.0.1:1", "--coordinator-timeout": "0.1"], 69, "127.0.0.1:1"),
            (["--world-size": "2", "--rank": "2"], 64, "--rank 2"),
            (
                ["--world-size": "2", "--rank": "1", "--coordinator": "127.0.0.1:1", "--rank-timeout": "0"], 64,
                "--rank-timeout"
            ),
            (["--metrics": "/nonexistent/metrics.jsonl"], 1, "--metrics /nonexistent/metrics.jsonl cannot be written"),
            (["--csv": "/nonexistent/metrics.csv"], 1, "--csv /nonexistent/metrics.csv cannot be written"),
            (["--tensorboard": "/dev/null/x"], 1, "--tensorboard /dev/null/x cannot be written"),
            (["--checkpoint-directory": "/dev/null/x"], 1, "--checkpoint-directory /dev/null/x cannot be written"),
        ] as [([String: String], Int32, String)])
    func whatWouldEndTheJobEndsIt(changes: [String: String], status: Int32, words: String) throws {
        let program = try RunningProgram(
            "moe-worker", inputs.arguments(changes.mapValues { $0 }) + ["--dry-run"])
        #expect(program.waitForEnd() == status, "\(program.text)")
        #expect(program.text.contains(words), "\(program.text)")
        #expect(program.text.split(separator: "\n").count == 1, "\(program.text)")
    }

    /// The plan is the coordinator's, which hears of no new incarnation.
    @Test func theCoordinatorIsOnlyAsked() throws {
        let coordinator = try RunningProgram(
            "moe-coordinator", ["serve", "--database", inputs.path("moe.db"), "--listen", "127.0.0.1:0"])
        defer { coordinator.terminate() }
        let address = try #require(
            coordinator.readLine(after: "moe-coordinator: listening on "), "\(coordinator.text)")
        let access = ["--coordinator": address, "--run": "small"]
        #expect(
            try answer(access.merging(["--allocator": "replicated", "--world-size": "2"]) { $1 }).plan.revision == 1)
        let variables = ["MOE_COORDINATOR": address]
        #expect(try CtlProgram(["run", "show", "small"], environment: variables).status != 0)

        let job = try RunningProgram(
            "moe-worker", inputs.arguments(access.merging(["--allocator": "expert-parallel"]) { $1 }), ranks: 2)
        #expect(job.waitForEnd() == 0, "\(job.text)")
        func show() throws -> CtlProgram {
            try CtlProgram(["run", "show", "small", "-o", "json"], environment: variables)
        }
        let before = try show()
        let other = ["--allocator": "expert-parallel", "--world-size": "2"]
        let plan = try answer(access.merging(other) { $1 }).plan
        #expect(plan.layers.allSatisfy { $0.experts.map(\.mesh.ranks) == [[0], [1], [0], [1]] })
        // For another allocator or other ranks it would make another.
        #expect(
            try answer(access.merging(["--world-size": "2"]) { $1 }).plan.layers[0].experts[0].mesh.ranks == [0, 1])
        #expect(try answer(access.merging(["--world-size": "3"]) { $1 }).plan.worldSize == 3)
        #expect(try show().output == before.output)
    }

    /// Resident memory of a rank is what was said, within 5 %.
    @Test(arguments: [
        ["--allocator": "tensor-parallel"],
        ["--allocator": "expert-parallel", "--micro-batches": "2"],
        ["--allocator": "replicated", "--optimizer-placement": "decoupled"],
        // Much of it are gradients that arrive.
        ["--allocator": "replicated", "--batch-size": "4"],
        ["--allocator": "expert-parallel", "--recompute": "full"],
        ["--allocator": "replicated", "--recompute": "attention"],
        ["--allocator": "replicated", "--recompute": "experts"],
        ["--allocator": "expert-parallel", "--tp": "2"],
        ["--allocator": "replicated", "--tp": "2", "--recompute": "full"],
    ])
    func memoryIsWhatWasSaid(setting: [String: String]) throws { try check(memory(setting)) }

    /// Dense layers, a shared expert, biases, norms of queries and keys, and weights that embedding and head share.
    private static let otherTypes = [
        #"""
        "model_type": "qwen2_moe", "num_experts": 8, "moe_intermediate_size": 320, "intermediate_size": 1200,
        "mlp_only_layers": [1], "shared_expert_intermediate_size": 700, "tie_word_embeddings": true
        """#,
        #"""
        "model_type": "dots1", "n_routed_experts": 8, "moe_intermediate_size": 320, "intermediate_size": 1200,
        "first_k_dense_replace": 1, "n_shared_experts": 2, "attention_bias": true
        """#,
        #"""
        "model_type": "qwen3_moe", "num_experts": 5, "moe_intermediate_size": [[100, 900, 300, 500, 700], [64, 64, 64, 64, 65]],
        "intermediate_size": 1200, "mlp_only_layers": [0, 3], "head_dim": 64
        """#,
    ]

    @Test(
        arguments: otherTypes,
        [
            ["--allocator": "expert-parallel"], ["--allocator": "tensor-parallel", "--recompute": "full"],
            ["--allocator": "replicated", "--tp": "2"],
        ])
    func memoryOfOtherTypesIsWhatWasSaid(model: String, setting: [String: String]) throws {
        try check(memory(setting, model: model))
    }

    private static let bfloat16 = ["--allocator": "expert-parallel", "--dtype": "bf16"]

    @Test(.enabled(if: Precision.bfloat16.obstacle == nil, "this machine multiplies no bfloat16"))
    func memoryOfBFloat16IsWhatWasSaid() throws { try check(memory(Self.bfloat16)) }

    @Test(
        .enabled(if: Precision.bfloat16.obstacle == nil, "this machine multiplies no bfloat16"), arguments: otherTypes)
    func memoryOfBFloat16OfOtherTypesIsWhatWasSaid(model: String) throws {
        try check(memory(Self.bfloat16, model: model))
    }

    /// So is that of a norm whose weights are cut with the heads.
    @Test(arguments: [
        ["--allocator": "replicated", "--tp": "2"], ["--allocator": "tensor-parallel", "--recompute": "full"],
    ])
    func memoryOfANormOfAllHeadsIsWhatWasSaid(setting: [String: String]) throws {
        let model = #""model_type": "olmoe", "num_experts": 8, "intermediate_size": 320"#
        try check(memory(setting, model: model))
    }

    private func check(_ bytes: (said: Int, found: Int)) {
        let (said, found) = bytes
        #expect(abs(said - found) * 20 <= found, "\(said) bytes were said, \(found) are resident")
    }

    /// Attention takes memory for each thread, that grows with sequences and heads.
    @Test func memoryOfAttentionsThreadsIsSaid() throws {
        // Of a field that stands twice, the first value counts.
        let fields = #""num_key_value_heads": 2, "head_dim": 512, "max_position_embeddings": 1024"#
        let file = inputs.folder.appending(path: "config.json")
        try String(contentsOf: file, encoding: .utf8).replacing("{", with: "{\(fields), ", maxReplacements: 1)
            .write(to: file, atomically: true, encoding: .utf8)
        let said = try ["1", "2"].map { threads in
            try answer([
                "--world-size": "2", "--allocator": "expert-parallel", "--batch-size": "2",
                "--sequence-length": "1024", "--threads": threads,
            ]).ranks[0].totalBytes
        }
        // Two tiles of scores, a head's keys twice and values, two tiles of queries, and sums.
        let entries = 2 * 48 * (1024 + 16) + 3 * 512 * 1024 + 2 * 48 * 512 + 48
        #expect(abs(Double(said[1] - said[0]) - 1.03 * Double(4 * entries)) <= 1, "\(said)")
    }

    @Test func tellsOfLayersAndWidths() throws {
        let configuration = #"""
            {"model_type": "qwen2_moe", "vocab_size": 17, "hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 3,
             "num_attention_heads": 2, "num_experts": 2, "num_experts_per_tok": 1, "max_position_embeddings": 16,
             "num_key_value_heads": 1, "mlp_only_layers": [1], "moe_intermediate_size": [[3, 5], [7, 9]],
             "shared_expert_intermediate_size": 11, "tie_word_embeddings": true}
            """#
        try Data(configuration.utf8).write(to: inputs.folder.appending(path: "config.json"))
        let program = try RunningProgram(
            "moe-worker", inputs.arguments(["--world-size": "2", "--allocator": "expert-parallel"]) + ["--dry-run"])
        #expect(program.waitForEnd() == 0, "\(program.text)")
        let attention = 2 * 16 * 16 + 2 * 8 * 16 + 16 + 2 * 8
        let sparse = 2 * 16 + 3 * 11 * 16 + 16
        let dense = 17 * 16 + 16 + 3 * (attention + 2 * 16) + 2 * sparse + 3 * 20 * 16
        let experts = 3 * 16 * (3 + 5 + 7 + 9)
        for line in [
            "Model:              2 layers of 2 experts and 1 dense, top 1; hidden size 16, experts 3 to 9",
            "\(dense + experts): \(dense) dense, \(experts) of experts; a token meets \(dense + experts / 2)",
        ] { #expect(program.text.contains(line), "\(line) in \(program.text)") }
    }

    /// Keeping only the layers' inputs takes much less than keeping all.
    @Test func recomputationSavesMemory() throws {
        let whole = try memory(["--allocator": "expert-parallel"])
        let inputs = try memory(["--allocator": "expert-parallel", "--recompute": "full"])
        #expect(inputs.said * 4 < whole.said * 3 && inputs.found * 4 < whole.found * 3)
    }

    /// Resident bytes of rank 0 of two, as the dry run says and as they are found.
    /// - Parameter model: fields of its configuration besides the usual.
    private func memory(
        _ setting: [String: String],
        model: String = #""model_type": "mixtral", "num_local_experts": 8, "intermediate_size": 640"#
    ) throws -> (said: Int, found: Int) {
        let configuration = """
            {\(model), "vocab_size": 1024, "hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 6,
             "num_key_value_heads": 3, "num_experts_per_tok": 2, "max_position_embeddings": 256, "hidden_act": "silu",
             "initializer_range": 0.02, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "router_aux_loss_coef": 0.0,
             "sliding_window": null}
            """
        try Data(configuration.utf8).write(to: inputs.folder.appending(path: "config.json"))
        let shape = setting.merging(["--batch-size": "16", "--sequence-length": "256"]) { given, _ in given }
        let said = try answer(shape.merging(["--world-size": "2"]) { $1 }).ranks[0].totalBytes
        // Which experts tokens choose is not known before; here they choose all alike.
        let job = try RunningProgram(
            "moe-worker",
            inputs.arguments(shape.merging(["--metrics": inputs.path("metrics.jsonl")]) { $1 })
                + ["--benchmark-even-routing"], ranks: 2)
        #expect(job.waitForEnd() == 0, "\(job.text)")
        let found = try #require(try MemoryTests.residentBytes(inMetrics: inputs.path("metrics.jsonl")).last)
        print("\(setting): said \(said) bytes, found \(found): \(Double(said) / Double(found))")
        return (said, found)
    }
}
