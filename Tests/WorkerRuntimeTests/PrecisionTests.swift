import Layers
import Tensors
import TestSupport
import Testing
import WorkerRuntime

/// Training with factors of matrix products in bfloat16.
@Suite(.serialized, .enabled(if: Precision.bfloat16.obstacle == nil, "this machine multiplies no bfloat16"))
struct PrecisionTests {
    private let fixture: TrainingFixture

    /// Every third token is none that the others tell, so that, as in text, there is always something left to learn.
    init() throws {
        fixture = try TrainingFixture()
        var random = SeededGenerator(seed: 5)
        var tokens: [UInt16] = [1, 2]
        while tokens.count < 20_000 {
            let (a, b) = (tokens[tokens.count - 2], tokens[tokens.count - 1])
            let told = (a + 3 * b + 1) % UInt16(TrainingFixture.vocabularySize)
            tokens.append(
                tokens.count % 3 == 0 ? .random(in: 0..<UInt16(TrainingFixture.vocabularySize), using: &random) : told)
        }
        try fixture.write(tokens, to: "train.bin")
    }

    private func losses(_ precision: Precision, worldSize: Int = 1, allocator: String = "tensor-parallel", steps: Int)
        throws
        -> [Double]
    {
        Precision.configure(precision)
        defer { Precision.configure(.float32) }
        return try fixture.train(worldSize: worldSize, steps: steps) {
            $0.precision = precision
            $0.allocator = allocator
            $0.schedule = LearningRateSchedule(
                shape: .cosine, learningRate: 3e-3, minimum: 3e-4, warmupSteps: 20, steps: steps)
        }.map(\.loss)
    }

    /// Logits, scores, losses and gradients, to the bit.
    @Test(arguments: [RoutingPolicy.Score.softmax, .sigmoid]) func routersStayInFP32(score: RoutingPolicy.Score) throws
    {
        var random = SeededGenerator(seed: 6)
        func numbers(_ rows: Int, _ columns: Int) -> Tensor {
            Tensor(
                (0..<rows * columns).map { _ in Float.random(in: -1...1, using: &random) }, rows: rows,
                columns: columns)
        }
        var policy = RoutingPolicy()
        policy.score = score
        policy.zLossCoefficient = 1
        let router = Router(hiddenSize: 64, expertCount: 16, policy: policy)
        router.weight.value = numbers(16, 64)
        let x = numbers(40, 64)
        func pass(_ precision: Precision) throws -> (Routing, Double?, [Float], [Float]) {
            Precision.configure(precision)
            defer { Precision.configure(.float32) }
            let routing = try router.forward(x, savingForBackward: true)
            router.weight.gradient.fill(0)
            let gradient = Tensor(rows: 40, columns: 64, repeating: 0)
            router.backward(
                weightGradient: (0..<routing.count).map(Float.init), probabilityGradient: (0..<16).map(Float.init),
                scales: RouterLossScales(zLoss: 1), addingTo: gradient)
            return (routing, router.statistics?.zLossSum, gradient.array, router.weight.gradient.array)
        }
        let (exact, rounded) = (try pass(.float32), try pass(.bfloat16))
        #expect(exact == rounded)
    }

    /// Of the mean over 50 steps, for a step's loss is that of its batch.
    @Test func lossesAreThoseOfFP32Within1Percent() throws {
        let steps = 500
        let (exact, rounded) = (try losses(.float32, steps: steps), try losses(.bfloat16, steps: steps))
        #expect(exact != rounded)
        for start in stride(from: 0, to: steps, by: 50) {
            let (mean, other) = (
                exact[start..<start + 50].reduce(0, +) / 50, rounded[start..<start + 50].reduce(0, +) / 50
            )
            print("steps \(start + 1) to \(start + 50): fp32 \(mean), bf16 \(other)")
            #expect(abs(other - mean) <= 0.01 * mean, "from step \(start + 1) on")
        }
    }

    /// Rounding is entry by entry, so the placement changes the order of sums alone.
    @Test(arguments: [2, 3], ["tensor-parallel", "expert-parallel", "replicated"])
    func placementsGiveTheSameLosses(worldSize: Int, allocator: String) throws {
        let alone = try losses(.bfloat16, steps: 10)
        let spread = try losses(.bfloat16, worldSize: worldSize, allocator: allocator, steps: 10)
        for (one, other) in zip(alone, spread) { #expect(abs(one - other) <= 2e-3 * one) }
    }
}
