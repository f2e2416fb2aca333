import ExpertParallelism
import Foundation
import Layers
import MessagePassing
import Mixtral
import TokenData

/// What all ranks of a run must have alike: options, the model and data. Ranks that differ would train on with other weights each,
/// or wait for each other without end.
struct CommonSettings {
    /// By what users call it.
    private let values: [String: String]

    /// - Throws: what reading weights throws.
    init(_ options: TrainingOptions, _ inputs: TrainingInputs, isDryRun: Bool) throws {
        var values = [String: String]()
        for (flag, value) in options.common { values["--\(flag)"] = value }
        values["--dp × --tp"] = "\(inputs.mesh.dataParallel) × \(inputs.mesh.tensorParallel)"
        values["--dry-run"] = isDryRun ? "given" : nil
        for (field, value) in inputs.configuration.fieldTexts { values["the model's \(field)"] = value }
        let training = inputs.training.file
        values["train.bin of --data"] = Self.text(training, inputs.trainingDigest)
        values["val.bin of --data"] = inputs.validation.map { Self.text($0.file, $0.file.digest) }
        if options.model != nil {
            let weights = MixtralModel(configuration: inputs.configuration).namedWeights()
            values["the checkpoint of --model"] =
                "one with samples \(try inputs.weights.digest(of: weights).prefix(16))"
        }
        self.values = values
    }

    private static func text(_ file: TokenFile, _ digest: String) -> String {
        "\(file.count) tokens with samples \(digest.prefix(16))"
    }

    /// Collective.
    /// - Throws: `JobFailure` on all ranks when one has something else than rank 0.
    func compare(communicator: any Communicator) throws {
        let message = try communicator.agree { () -> [UInt8] in
            guard communicator.rank == 0 else { return [] }
            return try Array(JSONEncoder().encode(values))
        }
        let bytes = try communicator.broadcast(message, root: 0)
        try communicator.agree {
            let first = try JSONDecoder().decode([String: String].self, from: Data(bytes))
            let names = Set(values.keys).union(first.keys).sorted()
            guard let name = names.first(where: { values[$0] != first[$0] }) else { return }
            let absent = "not given"
            throw WorkerError.usage(
                "\(name) is \(values[name] ?? absent) on rank \(communicator.rank), but \(first[name] ?? absent) on rank 0: "
                    + "start all ranks with the same options, model and data")
        }
    }
}
