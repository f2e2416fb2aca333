import ControlTestSupport
import Foundation
import Testing

/// What `moe-worker train` makes of its options for losses, schedule and optimizer, against transformers with
/// `torch.optim.AdamW` (`Tests/MixtralTests/Golden/generate.py`).
@Suite struct GoldenTrainingTests {
    private struct Golden: Decodable {
        let steps, batchSize, microBatches, sequenceLength, warmupSteps: Int
        let learningRate, minimum, beta1, beta2, epsilon, weightDecay, clip: Double
        let auxiliaryCoefficient, zCoefficient: Double
        let tokens: [UInt16]
        let loss, auxiliaryLoss, zLoss, gradientNorm, rate: [Double]
    }

    /// A line of the metrics.
    private struct Line: Decodable {
        let loss, auxiliaryLoss, zLoss, gradientNorm, rate: Double

        enum CodingKeys: String, CodingKey {
            case loss
            case auxiliaryLoss = "aux_loss"
            case zLoss = "z_loss"
            case gradientNorm = "grad_norm"
            case rate = "learning_rate"
        }
    }

    private static let folder = Repository.root.appending(path: "Tests/MixtralTests/Golden")
    private let temporary: TemporaryFolder
    private let golden: Golden

    /// Writes the tokens, and the model with a coefficient that no Mixtral of transformers has.
    init() throws {
        temporary = try TemporaryFolder()
        golden = try JSONDecoder().decode(
            Golden.self, from: Data(contentsOf: Self.folder.appending(path: "training.json")))
        try golden.tokens.map(\.littleEndian).withUnsafeBytes { Data($0) }
            .write(to: temporary.url.appending(path: "train.bin"))
        try FileManager.default.copyItem(
            atPath: Self.folder.appending(path: "base").path, toPath: temporary.path("model"))
        let file = temporary.url.appending(path: "model/config.json")
        let text = try String(contentsOf: file, encoding: .utf8)
        try text.replacing("{\n", with: "{\n  \"router_z_loss_coef\": \(golden.zCoefficient),\n", maxReplacements: 1)
            .write(to: file, atomically: true, encoding: .utf8)
    }

    @Test(arguments: [
        (1, "replicated", "none"), (2, "expert-parallel", "all"), (2, "tensor-parallel", "none"),
        (2, "replicated", "all"),
    ])
    func trainingIsThatOfPyTorch(ranks: Int, allocator: String, overlap: String) throws {
        let options = [
            "--data": temporary.url.path, "--model": temporary.path("model"), "--data-order": "sequential",
            "--steps": "\(golden.steps)", "--batch-size": "\(golden.batchSize)",
            "--micro-batches": "\(golden.microBatches)", "--sequence-length": "\(golden.sequenceLength)",
            "--learning-rate": "\(golden.learningRate)", "--learning-rate-schedule": "cosine",
            "--minimum-learning-rate": "\(golden.minimum)", "--warmup-steps": "\(golden.warmupSteps)",
            "--beta1": "\(golden.beta1)", "--beta2": "\(golden.beta2)", "--epsilon": "\(golden.epsilon)",
            "--weight-decay": "\(golden.weightDecay)", "--gradient-clip": "\(golden.clip)",
            "--auxiliary-loss": "\(golden.auxiliaryCoefficient)", "--allocator": allocator, "--overlap": overlap,
            "--metrics": temporary.path("metrics.jsonl"),
        ]
        let job = try RunningProgram("moe-worker", options.flatMap { [$0, $1] }, ranks: ranks)
        #expect(job.waitForEnd() == 0, "\(job.text)")
        let lines = try String(contentsOfFile: temporary.path("metrics.jsonl"), encoding: .utf8).split(separator: "\n")
            .map { try JSONDecoder().decode(Line.self, from: Data($0.utf8)) }
        try #require(lines.count == golden.steps && golden.steps == 12)

        /// The largest difference, relative where values are large.
        func difference(_ actual: KeyPath<Line, Double>, _ expected: [Double]) -> Double {
            zip(lines, expected).map { abs($0[keyPath: actual] - $1) / max(1, abs($1)) }.max() ?? .infinity
        }
        let differences = [
            difference(\.loss, golden.loss), difference(\.auxiliaryLoss, golden.auxiliaryLoss),
            difference(\.zLoss, golden.zLoss), difference(\.gradientNorm, golden.gradientNorm),
            difference(\.rate, golden.rate),
        ]
        print("\(ranks) ranks, \(allocator): differences of losses, norm and rate at most \(differences)")
        for difference in differences { #expect(difference < 1e-4) }
    }
}
