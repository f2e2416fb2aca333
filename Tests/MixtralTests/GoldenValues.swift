import Foundation
import Layers
import Mixtral
import Safetensors
import Tensors

/// What `Golden/generate.py` wrote with PyTorch and transformers.
struct GoldenValues: Decodable {
    struct Model: Decodable {
        /// One row a sequence: its tokens, and one more, so that the targets are the tokens from the second on.
        let tokens: [[Int32]]
        let loss: Double
        /// Nil for types of model that transformers has no batch-wise one for.
        let auxiliaryLoss: Double?
        /// Coefficients of the auxiliary loss that there are gradients for, as Python prints them.
        let coefficients: [Double]
    }

    struct Curve: Decodable {
        let coefficient: Double
        let clip: Double?
        let loss: [Double]
        let auxiliaryLoss: [Double]
        let gradientNorm: [Double]
    }

    struct Optimizer: Decodable {
        let learningRate: Double
        let beta1: Double
        let beta2: Double
        let epsilon: Double
        let weightDecay: Double
    }

    let sequences: Int
    let sequenceLength: Int
    let models: [String: Model]
    let batches: [[[Int32]]]
    let optimizer: Optimizer
    let curves: [Curve]

    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "Golden")

    static func load() throws -> GoldenValues {
        try JSONDecoder().decode(Self.self, from: Data(contentsOf: folder.appending(path: "golden.json")))
    }

    /// Logits and gradients of a model.
    static func tensors(of model: String) throws -> SafetensorsReader {
        try SafetensorsReader(path: folder.appending(path: "\(model).safetensors").path)
    }

    /// The checkpoint in a folder, loaded.
    static func model(_ name: String) throws -> MixtralModel {
        let checkpoint = try MixtralCheckpoint(directory: folder.appending(path: name).path)
        let model = MixtralModel(configuration: checkpoint.configuration)
        try model.loadWeights(from: checkpoint.weights)
        return model
    }

    /// Tokens and targets of rows that are one token longer than a sequence.
    static func split(_ rows: [[Int32]]) -> (tokens: [Int32], targets: [Int32]) {
        (rows.flatMap { $0.dropLast() }, rows.flatMap { $0.dropFirst() })
    }
}

/// The largest difference of two tensors' entries, and the largest entry of the first.
func compare(_ expected: Tensor, _ actual: Tensor) -> (difference: Double, largest: Double) {
    let (expected, actual) = (expected.array, actual.array)
    precondition(expected.count == actual.count, "shapes differ")
    var result = (difference: 0.0, largest: 0.0)
    for (a, b) in zip(expected, actual) {
        // A number that is none must not pass: comparisons with it are false.
        guard a.isFinite && b.isFinite else { return (.infinity, result.largest) }
        result = (max(result.difference, abs(Double(a) - Double(b))), max(result.largest, abs(Double(a))))
    }
    return result
}
