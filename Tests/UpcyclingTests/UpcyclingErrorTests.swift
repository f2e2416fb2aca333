import Foundation
import Mixtral
import Safetensors
import Tensors
import Testing
import Upcycling

/// What no mixture can be made of is refused before anything is written, with one message that names the cause.
@Suite struct UpcyclingErrorTests {
    private func message(_ fixture: DenseFixture, _ upcycling: Upcycling = Upcycling(experts: 4, expertsPerToken: 2))
        -> String
    {
        do {
            _ = try UpcycledModel(dense: fixture.dense, upcycling)
            return ""
        } catch {
            return "\(error)"
        }
    }

    @Test func numbersThatDoNotFitAreNamed() throws {
        let fixture = try DenseFixture("llama")
        let cases: [(Upcycling, UpcyclingError)] = [
            (Upcycling(experts: 0, expertsPerToken: 1), .noExperts),
            (Upcycling(experts: 2, expertsPerToken: 0), .noExperts),
            (
                Upcycling(experts: 2, expertsPerToken: 3),
                .moreExpertsPerTokenThanExperts(expertsPerToken: 3, experts: 2)
            ),
            (Upcycling(experts: 2, expertsPerToken: 1, noise: -1), .noise(-1)),
            (Upcycling(experts: 2, expertsPerToken: 1, noise: .infinity), .noise(.infinity)),
            (Upcycling(experts: 2, expertsPerToken: 1, expertWidth: 0), .widthDoesNotDivide(0, denseWidth: 20)),
            (Upcycling(experts: 2, expertsPerToken: 1, expertWidth: 7), .widthDoesNotDivide(7, denseWidth: 20)),
            (Upcycling(experts: 2, expertsPerToken: 1, expertWidth: 40), .widthDoesNotDivide(40, denseWidth: 20)),
            (
                Upcycling(experts: 6, expertsPerToken: 4, expertWidth: 5),
                .incompleteCopies(expertsPerToken: 4, experts: 6, slices: 4)
            ),
            (
                Upcycling(experts: 8, expertsPerToken: 2, expertWidth: 5),
                .incompleteCopies(expertsPerToken: 2, experts: 8, slices: 4)
            ),
        ]
        for (upcycling, error) in cases {
            #expect(throws: error) { try UpcycledModel(dense: fixture.dense, upcycling) }
        }
        #expect(
            message(fixture, Upcycling(experts: 1 << 20, expertsPerToken: 1)).contains("num_local_experts is 1048576"))
    }

    @Test(
        arguments: [
            (
                ["model_type": "mixtral"],
                "model_type is \"mixtral\"; it must be a dense model's: \"llama\", \"mistral\""
            ),
            (["model_type": nil], "model_type is missing"), (["mlp_bias": true], "mlp_bias is true"),
            (["attention_bias": true], "attention_bias is true"),
            (["intermediate_size": "wide"], "intermediate_size is \"wide\""),
            (["rope_scaling": ["rope_type": "llama3"]], "rope_type is \"llama3\""),
            (["hidden_act": "gelu"], "hidden_act is \"gelu\""), (["sliding_window": 8], "sliding_window is 8"),
        ] as [([String: (any Sendable)?], String)])
    func fieldsThatDoNotFitAreNamed(changes: [String: (any Sendable)?], expected: String) throws {
        let fixture = try DenseFixture("llama")
        try fixture.configure(changes)
        let message = message(fixture)
        #expect(message.contains(expected) && message.hasPrefix("\(fixture.dense)/config.json: "), "\(message)")
    }

    /// As in transformers: dense Qwens that use a window have one of 4096, from a layer on, and Mistral reads no `layer_types`.
    @Test(arguments: ["mistral", "qwen2", "qwen3"]) func windowsAreTheDenseModels(name: String) throws {
        let fixture = try DenseFixture(name)
        let full = ["full_attention", "full_attention"]
        let isMistral = name == "mistral"
        let absent: [String: Any?] = [
            "sliding_window": nil, "layer_types": nil, "max_window_layers": nil, "use_sliding_window": nil,
        ]
        try fixture.configure(absent)
        try fixture.configure(["max_position_embeddings": 4097])
        let refused = "sliding_window is 4096; it must be null, or at least max_position_embeddings, which is 4097"
        #expect(message(fixture).contains(refused) == isMistral)
        try fixture.configure(["layer_types": full])
        #expect(message(fixture).contains(refused) == isMistral)

        try fixture.configure(["use_sliding_window": true])
        #expect(message(fixture).contains(refused) == isMistral)
        try fixture.configure(["layer_types": nil])
        #expect(message(fixture).contains(refused) == isMistral)
        let windows: [[String: Any?]] = [["max_window_layers": 1], ["layer_types": ["full_attention"]]]
        for changes in windows {
            try fixture.configure(absent)
            try fixture.configure(["use_sliding_window": true])
            try fixture.configure(changes)
            #expect(message(fixture).contains(refused), "\(changes)")
        }
        try fixture.configure(["max_position_embeddings": 4096])
        #expect(message(fixture) == "")
        try fixture.configure(["max_position_embeddings": 4097, "sliding_window": NSNull()])
        #expect(message(fixture) == "")
    }

    @Test func tensorsThatDoNotFitAreNamed() throws {
        let fixture = try DenseFixture("llama")
        try fixture.configure(["num_hidden_layers": 3, "vocab_size": 38])
        let more = message(fixture)
        #expect(more.contains("9 missing (model.layers.2.input_layernorm.weight"), "\(more)")
        #expect(more.contains("2 misshapen (lm_head.weight with the shape [37, 18], expected [38, 18]"), "\(more)")
        try fixture.configure(["num_hidden_layers": 1, "vocab_size": 37])
        #expect(message(fixture).contains("9 not of this model"), "\(message(fixture))")
        try fixture.configure(["num_hidden_layers": 2, "intermediate_size": 10])
        #expect(message(fixture).contains("6 misshapen"), "\(message(fixture))")
    }

    /// A head that should be the embedding once more.
    @Test func aTiedHeadThatDiffersIsRefused() throws {
        let fixture = try DenseFixture("qwen2")
        let tensors = try fixture.tensors(in: "qwen2").sorted { $0.key < $1.key }
        let embedding = try #require(tensors.first { $0.key == "model.embed_tokens.weight" }?.value)
        for isSame in [true, false] {
            var head = embedding.values.array
            if !isSame { head[head.count - 1] = 9 }
            let writer = try SafetensorsWriter(
                path: "\(fixture.dense)/model.safetensors",
                tensors: tensors.map { ($0.key, $0.value.shape) } + [("lm_head.weight", embedding.shape)])
            for (name, tensor) in tensors { try writer.write(name, tensor.values) }
            try writer.write(
                "lm_head.weight", Tensor(head, rows: embedding.values.rows, columns: embedding.values.columns))
            try writer.finish()
            let message = message(fixture)
            #expect(isSame ? message == "" : message.contains("lm_head.weight is not"), "\(message)")
        }
    }

    @Test func filesThatCannotBeReadAreNamed() throws {
        let fixture = try DenseFixture("llama")
        let file = "\(fixture.dense)/model.safetensors"
        try FileManager.default.removeItem(atPath: file)
        #expect(message(fixture).contains("has neither model.safetensors nor"))
        try Data("x".utf8).write(to: URL(fileURLWithPath: file))
        #expect(message(fixture).hasPrefix("\(file): is no safetensors file"))
        try FileManager.default.removeItem(atPath: "\(fixture.dense)/config.json")
        #expect(message(fixture).contains("config.json: cannot be read"))
    }

    /// Writes the dense model anew, of `type` and with one entry of the tensor `name` changed, and makes a mixture of it.
    private func upcycle(
        _ fixture: DenseFixture, _ name: String, entry: Float, type: SafetensorsElementType, _ upcycling: Upcycling
    ) throws {
        let tensors = try fixture.tensors(in: "llama").sorted { $0.key < $1.key }
        let writer = try SafetensorsWriter(
            path: "\(fixture.dense)/model.safetensors", tensors: tensors.map { ($0.key, $0.value.shape) },
            elementTypes: Dictionary(uniqueKeysWithValues: tensors.map { ($0.key, type) }))
        for (key, tensor) in tensors {
            var values = tensor.values.array
            if key == name { values[5] = entry }
            try writer.write(key, Tensor(values, rows: tensor.values.rows, columns: tensor.values.columns))
        }
        try writer.finish()
        try? FileManager.default.removeItem(atPath: fixture.path("mixture"))
        _ = try UpcycledModel(dense: fixture.dense, upcycling).write(to: fixture.path("mixture"))
    }

    /// Noise is as large as the matrix: with one such entry, nothing in it would be finite.
    @Test(arguments: ["model.layers.1.mlp.down_proj.weight", "model.embed_tokens.weight"], [0, 0.1])
    func entriesThatAreNotFiniteAreRefused(name: String, noise: Double) throws {
        let fixture = try DenseFixture("llama")
        for entry in [Float.infinity, -.infinity, .nan] {
            let error = #expect(throws: UpcyclingError.self) {
                try upcycle(
                    fixture, name, entry: entry, type: .float32,
                    Upcycling(experts: 2, expertsPerToken: 1, noise: noise))
            }
            #expect(error == .notFinite(tensor: name, file: "\(fixture.dense)/model.safetensors"))
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: fixture.folder.path) == ["llama"])
    }

    /// Slices' down projections are multiplied: by four here.
    @Test(
        arguments: [
            (.float16, 16_376, true), (.float16, 16_384, false), (.float16, -16_384, false), (.bfloat16, 16_384, true),
            (.bfloat16, 0x1p125, true), (.bfloat16, 0x1p126, false), (.float32, 0x1p125, true),
            (.float32, 0x1p126, false),
        ] as [(SafetensorsElementType, Float, Bool)])
    func entriesThatBecomeTooLargeAreRefused(type: SafetensorsElementType, entry: Float, fits: Bool) throws {
        let fixture = try DenseFixture("llama")
        func upcycle() throws {
            try self.upcycle(
                fixture, "model.layers.1.mlp.down_proj.weight", entry: entry, type: type,
                Upcycling(experts: 4, expertsPerToken: 4, expertWidth: 5))
        }
        guard !fits else { return try upcycle() }
        let error = #expect(throws: UpcyclingError.self) { try upcycle() }
        // The row's entries 5 to 9 are the second expert's.
        let name = "model.layers.1.block_sparse_moe.experts.1.w2.weight"
        #expect(error == .overflow(tensor: name, type: type.rawValue))
        #expect(error?.description.contains("BF16 or F32") == true)
        #expect(try FileManager.default.contentsOfDirectory(atPath: fixture.folder.path) == ["llama"])
    }

    /// Old files have tensors that are computed nowadays.
    @Test func rotaryFrequenciesAreLeftOut() throws {
        let fixture = try DenseFixture("llama")
        let tensors = try fixture.tensors(in: "llama").sorted { $0.key < $1.key }
        let frequencies = "model.layers.0.self_attn.rotary_emb.inv_freq"
        let writer = try SafetensorsWriter(
            path: "\(fixture.dense)/model.safetensors",
            tensors: tensors.map { ($0.key, $0.value.shape) } + [(frequencies, [3])])
        for (name, tensor) in tensors { try writer.write(name, tensor.values) }
        try writer.write(frequencies, Tensor(rows: 1, columns: 3, repeating: 1))
        try writer.finish()
        #expect(message(fixture) == "")
    }
}
