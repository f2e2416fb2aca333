import Foundation

/// A folder with a small model and data for `moe-worker`. Removed with the value, so a suite holds it.
final class WorkerInputs {
    let folder: URL

    init() throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "worker-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let tokens = (0..<2048).flatMap { index -> [UInt8] in [UInt8(index * index % 17), 0] }
        try Data(tokens).write(to: folder.appending(path: "train.bin"))
        try Data(tokens.prefix(300)).write(to: folder.appending(path: "val.bin"))
        let meta = #"""
            {"format": 1, "tokenizer": "characters", "vocabulary_size": 17, "characters": "\nabcdefghijklmnop"}
            """#
        try Data(meta.utf8).write(to: folder.appending(path: "meta.json"))
        let configuration = """
            {"model_type": "mixtral", "vocab_size": 17, "hidden_size": 16, "intermediate_size": 16,
             "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "num_local_experts": 4,
             "num_experts_per_tok": 2, "max_position_embeddings": 16, "hidden_act": "silu", "initializer_range": 0.1,
             "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "router_aux_loss_coef": 0.01, "sliding_window": null,
             "tie_word_embeddings": false}
            """
        try Data(configuration.utf8).write(to: folder.appending(path: "config.json"))
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    func path(_ name: String) -> String { folder.appending(path: name).path }

    /// Arguments of a short run; those that `changes` names are others, or left out for nil.
    func arguments(_ changes: [String: String?] = [:]) -> [String] {
        var options: [String: String?] = [
            "--data": folder.path, "--model-config": path("config.json"), "--steps": "3", "--batch-size": "4",
            "--sequence-length": "8", "--log-interval": "1",
        ]
        options.merge(changes) { $1 }
        return options.sorted { $0.key < $1.key }.flatMap { name, value in value.map { [name, $0] } ?? [] }
    }

    /// All tokens are the same and go to one expert, so that one rank has all the work until experts move.
    /// - Parameters:
    ///   - layers: of the model, each with four experts.
    ///   - width: of an expert.
    func skewLoads(layers: Int = 2, width: Int = 128) throws {
        try Data(count: 4096).write(to: folder.appending(path: "train.bin"))
        let configuration = """
            {"model_type": "mixtral", "vocab_size": 17, "hidden_size": 64, "intermediate_size": \(width),
             "num_hidden_layers": \(layers), "num_attention_heads": 2, "num_key_value_heads": 1,
             "num_local_experts": 4, "num_experts_per_tok": 1, "max_position_embeddings": 16,
             "hidden_act": "silu", "initializer_range": 0.1, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
             "router_aux_loss_coef": 0.0, "sliding_window": null, "tie_word_embeddings": false}
            """
        try Data(configuration.utf8).write(to: folder.appending(path: "config.json"))
    }

    /// The steps and losses that a file of metrics has, line by line; none when there is no such file. A kill may have cut a line short,
    /// and one may be under way: it is left out.
    func losses(_ name: String) -> [(step: Int, loss: Double)] {
        struct Line: Decodable { var step: Int, loss: Double }
        guard let text = try? String(contentsOfFile: path(name), encoding: .utf8) else { return [] }
        return text.split(separator: "\n").compactMap { line in
            (try? JSONDecoder().decode(Line.self, from: Data(line.utf8))).map { ($0.step, $0.loss) }
        }
    }

    /// Trains a little and saves the weights; the checkpoint's path.
    func checkpoint() throws -> String {
        let job = try RunningProgram(
            "moe-worker", arguments(["--checkpoint-directory": path("checkpoints")]), ranks: 2)
        guard job.waitForEnd() == 0 else { throw WorkerInputsError(output: job.text) }
        return path("checkpoints/step-3")
    }

    /// Replaces one fp32 number of the tensor `name` in a checkpoint.
    func poison(_ name: String, in checkpoint: String, with value: Float) throws {
        let folder = URL(fileURLWithPath: checkpoint)
        let index =
            try JSONSerialization.jsonObject(
                with: Data(contentsOf: folder.appending(path: "model.safetensors.index.json"))) as? [String: Any]
        guard let place = (index?["weight_map"] as? [String: String])?[name] else {
            throw WorkerInputsError(output: "no tensor \(name) in \(checkpoint)")
        }
        let file = folder.appending(path: place)
        var data = try Data(contentsOf: file)
        // safetensors: eight bytes with the header's length, the header in JSON, the numbers.
        let length = data.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
        let header = try JSONSerialization.jsonObject(with: data[8..<8 + length]) as? [String: Any]
        let entry = header?[name] as? [String: Any]
        guard let offset = (entry?["data_offsets"] as? [Int])?.first else {
            throw WorkerInputsError(output: "no tensor \(name) in \(file.path)")
        }
        withUnsafeBytes(of: value.bitPattern.littleEndian) {
            data.replaceSubrange(8 + length + offset..<8 + length + offset + 4, with: $0)
        }
        try data.write(to: file)
    }
}

struct WorkerInputsError: Error, CustomStringConvertible {
    let output: String
    var description: String { output }
}
