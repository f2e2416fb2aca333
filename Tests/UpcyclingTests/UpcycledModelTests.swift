import Checkpoints
import Foundation
import Mixtral
import Safetensors
import Tensors
import Testing
import Upcycling

@Suite struct UpcycledModelTests {
    @Test(
        arguments: ["llama", "mistral", "qwen2", "qwen3"],
        [(3, 1, nil), (5, 2, nil), (8, 4, 10), (12, 8, 5)] as [(Int, Int, Int?)])
    func computesWhatTheDenseModelComputes(name: String, experts: (count: Int, perToken: Int, width: Int?)) throws {
        let fixture = try DenseFixture(name)
        let upcycling = Upcycling(
            experts: experts.count, expertsPerToken: experts.perToken, expertWidth: experts.width, seed: 3)
        _ = try UpcycledModel(dense: fixture.dense, upcycling).write(to: fixture.path("mixture"))
        let (expected, found) = (try fixture.expectedLogits(), try fixture.logits(of: "mixture"))
        #expect(expected.count == found.count)
        // A number that is none is not seen among the largest.
        #expect((expected + found).allSatisfy { $0.isFinite })
        let difference = zip(expected, found).reduce(0) { max($0, abs($1.0 - $1.1)) }
        print("\(name), \(experts): logits differ by at most \(difference)")
        #expect(difference < 1e-5)
    }

    @Test func expertsAreCopiesAndAllElseStays() throws {
        let fixture = try DenseFixture("mistral")
        let model = try UpcycledModel(dense: fixture.dense, Upcycling(experts: 3, expertsPerToken: 2, seed: 9))
        let files = try model.write(to: fixture.path("mixture"))
        #expect(files.map(\.name) == ["config.json", "model.safetensors"])
        #expect(try fixture.names(in: "mixture") == ["config.json", "model.safetensors"])
        let json = try String(contentsOfFile: fixture.path("mixture/config.json"), encoding: .utf8)
        #expect(json.contains("\"dtype\": \"bfloat16\"") && json.contains("\"torch_dtype\": \"bfloat16\""))
        let (dense, mixture) = (try fixture.tensors(in: "mistral"), try fixture.tensors(in: "mixture"))
        #expect(mixture.values.reduce(0) { $0 + 2 * $1.values.count } == model.bytes)
        var copies = 0
        for (name, tensor) in mixture {
            #expect(tensor.type == .bfloat16, "\(name)")
            var source = name
            if let range = name.range(of: #"block_sparse_moe\.experts\.[0-2]\."#, options: .regularExpression) {
                source.replaceSubrange(range, with: "mlp.")
                for (own, theirs) in [("w1", "gate_proj"), ("w2", "down_proj"), ("w3", "up_proj")] {
                    source = source.replacingOccurrences(of: own, with: theirs)
                }
                copies += 1
            } else if name.hasSuffix("gate.weight") {
                let expected = Tensor(rows: 3, columns: 18)
                try RandomWeights(seed: 9, standardDeviation: 0.02).load(
                    name, shape: [3, 18], rows: 0..<3, columns: 0..<18, into: expected)
                for (a, b) in zip(expected.array, tensor.values.array) {
                    #expect(abs(a - b) <= abs(a) * 0x1p-8, "\(name)")
                }
                continue
            }
            let original = try #require(dense[source], "\(name)")
            #expect(tensor.shape == original.shape && tensor.values.array == original.values.array, "\(name)")
        }
        #expect(copies == 2 * 3 * 3)
    }

    /// What the dense model's file does not say is what transformers takes for the dense model, not for the mixture.
    @Test func absentFieldsAreTheDenseModels() throws {
        let fixture = try DenseFixture("llama")
        try fixture.configure([
            "rope_parameters": nil, "rms_norm_eps": nil, "max_position_embeddings": nil, "bos_token_id": nil,
        ])
        let model = try UpcycledModel(dense: fixture.dense, Upcycling(experts: 2, expertsPerToken: 1))
        #expect(model.configuration.ropeTheta == 1e4 && model.configuration.rmsNormEpsilon == 1e-6)
        #expect(model.configuration.maximumPositions == 2048 && model.configuration.beginToken == 1)
        // An old file may say it there.
        try fixture.configure(["rope_scaling": ["rope_type": "default", "rope_theta": 500] as [String: Any]])
        let old = try UpcycledModel(dense: fixture.dense, Upcycling(experts: 2, expertsPerToken: 1))
        #expect(old.configuration.ropeTheta == 500)
    }

    /// Experts 2c and 2c + 1 are the halves of a copy, and the router cannot tell them from each other.
    @Test func slicesOfACopyAreNeighbours() throws {
        let fixture = try DenseFixture("llama")
        let upcycling = Upcycling(experts: 6, expertsPerToken: 2, expertWidth: 10)
        let model = try UpcycledModel(dense: fixture.dense, upcycling)
        #expect(model.expertWidth == 10 && model.configuration.experts == 6)
        _ = try model.write(to: fixture.path("mixture"))
        let (dense, mixture) = (try fixture.tensors(in: "llama"), try fixture.tensors(in: "mixture"))
        let block = "model.layers.1.block_sparse_moe"
        let router = try #require(mixture["\(block).gate.weight"]?.values)
        for expert in 0..<6 {
            let neurons = expert % 2 * 10..<expert % 2 * 10 + 10
            for (own, theirs) in [("w1", "gate_proj"), ("w3", "up_proj")] {
                let whole = try #require(dense["model.layers.1.mlp.\(theirs).weight"]?.values)
                let slice = try #require(mixture["\(block).experts.\(expert).\(own).weight"]?.values)
                #expect(slice.array == whole.rows(neurons).array)
            }
            let whole = try #require(dense["model.layers.1.mlp.down_proj.weight"]?.values)
            let slice = try #require(mixture["\(block).experts.\(expert).w2.weight"]?.values)
            #expect(slice.array == whole.columns(neurons).array.map { 2 * $0 })
            let isAlike = router.rows(expert..<expert + 1).array == router.rows(expert ^ 1..<(expert ^ 1) + 1).array
            #expect(isAlike)
        }
        #expect(router.rows(0..<1).array != router.rows(2..<3).array)
    }

    @Test func noiseIsAsLargeAsAskedForAndOfTheSeed() throws {
        let fixture = try DenseFixture("llama")
        func write(_ name: String, noise: Double, seed: UInt64) throws -> [String: DenseFixture.StoredTensor] {
            let upcycling = Upcycling(experts: 4, expertsPerToken: 1, noise: noise, seed: seed)
            _ = try UpcycledModel(dense: fixture.dense, upcycling).write(to: fixture.path(name))
            return try fixture.tensors(in: name)
        }
        let plain = try write("plain", noise: 0, seed: 1)
        let noisy = try write("noisy", noise: 0.1, seed: 1)
        let again = try write("again", noise: 0.1, seed: 1)
        let other = try write("other", noise: 0.1, seed: 2)
        var drawn = Set<[Float]>()
        for (name, tensor) in noisy {
            let (values, exact) = (tensor.values.array, try #require(plain[name]).values.array)
            #expect(try values == #require(again[name]).values.array)
            guard name.contains(".experts.") else {
                #expect(values == exact, "\(name)")
                continue
            }
            #expect(try values != #require(other[name]).values.array)
            let noise = zip(values, exact).map { $0 - $1 }
            func rootMeanSquare(_ values: [Float]) -> Float {
                (values.reduce(0) { $0 + $1 * $1 } / Float(values.count)).squareRoot()
            }
            // 360 entries: the deviation is within four of its own, 1 / √720, in a year of runs.
            #expect(abs(rootMeanSquare(noise) / rootMeanSquare(exact) - 0.1) < 0.015, "\(name)")
            drawn.insert(noise)
        }
        #expect(drawn.count == 2 * 4 * 3, "no two experts have the same noise")
        let router = "model.layers.0.block_sparse_moe.gate.weight"
        #expect(try #require(plain[router]).values.array != #require(other[router]).values.array)
    }

    @Test func largeModelsAreInSeveralFilesAndTheTokenizerComesAlong() throws {
        let fixture = try DenseFixture("llama")
        let companions = ["tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"]
        for name in companions + ["notes.txt"] {
            try Data(name.utf8).write(to: URL(fileURLWithPath: fixture.dense).appending(path: name))
        }
        let model = try UpcycledModel(dense: fixture.dense, Upcycling(experts: 5, expertsPerToken: 2))
        let files = try model.write(to: fixture.path("mixture"), fileLimitBytes: 10_000)
        let shards = try fixture.names(in: "mixture").filter { $0.hasSuffix(".safetensors") }
        #expect(shards.count > 2)
        #expect(shards == (1...shards.count).map { String(format: "model-%05d-of-%05d.safetensors", $0, shards.count) })
        #expect(
            Set(files.map(\.name))
                == Set(companions + shards + ["config.json", "model.safetensors.index.json"]))
        #expect(try Set(fixture.names(in: "mixture")) == Set(files.map(\.name)))
        for file in files where file.name.hasPrefix("model-") { #expect(file.bytes < 10_000 + 3000) }
        for name in companions {
            #expect(try Data(contentsOf: URL(fileURLWithPath: fixture.path("mixture/\(name)"))) == Data(name.utf8))
        }
        // The index is read with them.
        #expect(try fixture.logits(of: "mixture").count == 22 * 37)
    }

    /// Whatever fails, nothing is left, and what was there stays.
    @Test func theDirectoryAppearsWholeOrNotAtAll() throws {
        let fixture = try DenseFixture("llama")
        let model = try UpcycledModel(dense: fixture.dense, Upcycling(experts: 2, expertsPerToken: 1))
        try FileManager.default.createDirectory(atPath: fixture.path("there"), withIntermediateDirectories: false)
        let refusal = #expect(throws: CheckpointError.self) { try model.write(to: fixture.path("there")) }
        #expect(refusal.map { "\($0)".contains("is there already") } == true)
        // A file that cannot be copied, after the weights were written.
        try FileManager.default.createDirectory(
            atPath: "\(fixture.dense)/tokenizer.json", withIntermediateDirectories: false)
        #expect(throws: CheckpointError.self) { try model.write(to: fixture.path("mixture")) }
        #expect(throws: CheckpointError.self) { try model.write(to: fixture.path("nowhere/mixture")) }
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: fixture.folder.path).sorted() == ["llama", "there"])
    }
}
