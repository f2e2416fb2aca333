import Foundation
import Layers
import Mixtral
import Safetensors
import Tensors
import Testing

@Suite struct MixtralCheckpointTests {
    /// A copy of a golden checkpoint that a test may change.
    private func withCopy(of name: String, _ body: (URL) throws -> Void) throws {
        try withTemporaryDirectory { directory in
            let copy = directory.appending(path: name)
            try FileManager.default.copyItem(at: GoldenValues.folder.appending(path: name), to: copy)
            try body(copy)
        }
    }

    /// Changes a JSON file's top-level object.
    private func edit(_ file: URL, _ change: (inout [String: Any]) -> Void) throws {
        var object = try #require(
            try JSONSerialization.jsonObject(with: Data(contentsOf: file)) as? [String: Any])
        change(&object)
        try JSONSerialization.data(withJSONObject: object).write(to: file)
    }

    @Test func shardsHoldTheSameWeightsAsOneFile() throws {
        let (one, many) = (try GoldenValues.model("base"), try GoldenValues.model("sharded"))
        for (a, b) in zip(one.namedParameters(), many.namedParameters()) {
            #expect(a.name == b.name && a.parameter.value.array == b.parameter.value.array, "\(a.name)")
        }
    }

    /// The fused checkpoint has the base's weights in bf16: half a unit in the last of 8 bits.
    @Test func fusedExpertsAreTakenApart() throws {
        let (base, fused) = (try GoldenValues.model("base"), try GoldenValues.model("fused"))
        for (a, b) in zip(base.namedParameters(), fused.namedParameters()) {
            // A number that is none is not seen among the largest.
            #expect(a.parameter.value.array.allSatisfy(\.isFinite) && b.parameter.value.array.allSatisfy(\.isFinite))
            let worst = zip(a.parameter.value.array, b.parameter.value.array).reduce(0) {
                max($0, abs($1.0 - $1.1) / max(abs($1.0), 1e-30))
            }
            #expect(worst <= 0x1p-8, "\(a.name)")
        }
    }

    @Test(arguments: ["base", "fused"])
    func aBlockIsThePartOfTheWhole(name: String) throws {
        let checkpoint = try MixtralCheckpoint(directory: GoldenValues.folder.appending(path: name).path)
        let model = try GoldenValues.model(name)
        for (parameterName, parameter) in model.namedParameters() where parameter.shape.count == 2 {
            let rows = parameter.rows / 3..<parameter.rows - 1
            let columns = 1..<parameter.columns / 2
            let block = Tensor(rows: rows.count, columns: columns.count)
            try checkpoint.weights.load(
                parameterName, shape: parameter.shape, rows: rows, columns: columns, into: block)
            #expect(block.array == parameter.value.rows(rows).columns(columns).array, "\(parameterName)")
        }
        #expect(throws: ModuleError.self) {
            try checkpoint.weights.load(
                "lm_head.weight", shape: [1, 1], rows: 0..<1, columns: 0..<1, into: Tensor(rows: 1, columns: 1))
        }
    }

    @Test func namesEveryTensorThatDiffers() throws {
        try withCopy(of: "base") { copy in
            try edit(copy.appending(path: "config.json")) {
                $0["num_local_experts"] = 6
                $0["num_hidden_layers"] = 1
            }
            let error = #expect(throws: MixtralCheckpointError.self) {
                try MixtralCheckpoint(directory: copy.path)
            }
            guard case .tensorsDiffer(let directory, let missing, let misshapen, let surplus) = error else {
                Issue.record("another error: \(String(describing: error))")
                return
            }
            #expect(directory == copy.path)
            #expect(missing == ["w1", "w2", "w3"].map { "model.layers.0.block_sparse_moe.experts.5.\($0).weight" })
            #expect(
                misshapen == [
                    "model.layers.0.block_sparse_moe.gate.weight with the shape [5, 24], expected [6, 24]"
                ])
            #expect(surplus.count == 22 && surplus.allSatisfy { $0.hasPrefix("model.layers.1.") })
            print(error?.description ?? "")
        }
    }

    /// Some files of tied models have the embedding a second time.
    @Test func aTiedHeadIsTheEmbeddingOnceMore() throws {
        let plain = try GoldenValues.model("tied").namedParameters()
        try withCopy(of: "tied") { copy in
            let file = copy.appending(path: "model.safetensors").path
            let reader = try SafetensorsReader(path: file)
            let weights = try reader.header.entries.map { (entry: $0, values: try reader.read($0.name)) }
            let embedding = try #require(weights.first { $0.entry.name == "model.embed_tokens.weight" }?.values)
            func write(_ head: [Float], rows: Int, columns: Int) throws {
                let writer = try SafetensorsWriter(
                    path: file,
                    tensors: weights.map { ($0.entry.name, $0.entry.shape) } + [("lm_head.weight", [rows, columns])])
                for (entry, values) in weights { try writer.write(entry.name, values) }
                try writer.write("lm_head.weight", Tensor(head, rows: rows, columns: columns))
                try writer.finish()
            }
            let (rows, columns) = (embedding.rows, embedding.columns)
            try write(embedding.array, rows: rows, columns: columns)
            let checkpoint = try MixtralCheckpoint(directory: copy.path)
            let model = MixtralModel(configuration: checkpoint.configuration)
            try model.loadWeights(from: checkpoint.weights)
            for (a, b) in zip(plain, model.namedParameters()) {
                #expect(a.name == b.name && a.parameter.value.array == b.parameter.value.array, "\(a.name)")
            }
            // Its last entry differs, or its shape does.
            let error = MixtralCheckpointError.headDiffers(directory: copy.path)
            var others = embedding.array
            others[others.count - 1] = 9
            try write(others, rows: rows, columns: columns)
            #expect(throws: error) { try MixtralCheckpoint(directory: copy.path) }
            try write(embedding.array, rows: columns, columns: rows)
            #expect(throws: error) { try MixtralCheckpoint(directory: copy.path) }
            #expect(error.description.contains("tie_word_embeddings"))
            // A head of its own is no surplus.
            try write(embedding.array, rows: rows, columns: columns)
            try edit(copy.appending(path: "config.json")) { $0["tie_word_embeddings"] = false }
            _ = try MixtralCheckpoint(directory: copy.path)
        }
    }

    @Test func refusesADirectoryWithoutWeightsOrConfiguration() throws {
        try withCopy(of: "base") { copy in
            try FileManager.default.removeItem(at: copy.appending(path: "model.safetensors"))
            #expect(throws: MixtralCheckpointError.noWeights(directory: copy.path)) {
                try MixtralCheckpoint(directory: copy.path)
            }
            try FileManager.default.removeItem(at: copy.appending(path: "config.json"))
            #expect(throws: MixtralConfigurationError.self) { try MixtralCheckpoint(directory: copy.path) }
        }
    }

    /// Where others vouch for some files, no other is read.
    @Test func refusesFilesThatAreNotListed() throws {
        try withCopy(of: "sharded") { copy in
            let names = Set(try FileManager.default.contentsOfDirectory(atPath: copy.path))
            _ = try MixtralCheckpoint(directory: copy.path, files: names)
            for name in ["model-00002-of-00003.safetensors", "model.safetensors.index.json"] {
                #expect(throws: MixtralCheckpointError.surplusFile(copy.appending(path: name).path)) {
                    try MixtralCheckpoint(directory: copy.path, files: names.subtracting([name]))
                }
            }
            let single = copy.appending(path: "model.safetensors")
            try Data().write(to: single)
            #expect(throws: MixtralCheckpointError.surplusFile(single.path)) {
                try MixtralCheckpoint(directory: copy.path, files: names)
            }
        }
    }

    @Test func refusesADamagedFileByName() throws {
        try withCopy(of: "sharded") { copy in
            let shard = copy.appending(path: "model-00002-of-00003.safetensors")
            let bytes = try Data(contentsOf: shard)
            try bytes.dropLast(4).write(to: shard)
            let error = #expect(throws: SafetensorsError.self) { try MixtralCheckpoint(directory: copy.path) }
            #expect(error?.file == shard.path)
            try FileManager.default.removeItem(at: shard)
            #expect(throws: SafetensorsError(file: shard.path, cause: .system("No such file or directory"))) {
                try MixtralCheckpoint(directory: copy.path)
            }
        }
    }

    @Test func refusesAnIndexThatDoesNotFit() throws {
        let lastShard = "model-00003-of-00003.safetensors"
        let changes: [(reason: String, change: (inout [String: Any]) -> Void)] = [
            ("not a plain file name", { $0["lm_head.weight"] = "../base/model.safetensors" }),
            ("not a plain file name", { $0["lm_head.weight"] = "" }),
            ("not a plain file name", { $0["lm_head.weight"] = ".." }),
            ("does not place the tensor \"lm_head.weight\"", { $0["lm_head.weight"] = nil }),
            ("does not place the tensor \"lm_head.weight\"", { $0["lm_head.weight"] = lastShard }),
            ("places the tensor \"other\" in \(lastShard), which lacks it", { $0["other"] = lastShard }),
            ("is no index", { $0["lm_head.weight"] = 1 }),
        ]
        for (reason, change) in changes {
            try withCopy(of: "sharded") { copy in
                let file = copy.appending(path: "model.safetensors.index.json")
                try edit(file) { index in
                    var map = index["weight_map"] as? [String: Any] ?? [:]
                    change(&map)
                    index["weight_map"] = map
                }
                let error = #expect(throws: MixtralCheckpointError.self) {
                    try MixtralCheckpoint(directory: copy.path)
                }
                #expect(error?.description.contains(reason) == true, "\(reason): \(String(describing: error))")
                #expect(error?.description.hasPrefix(file.path) == true)
            }
        }
    }
}
