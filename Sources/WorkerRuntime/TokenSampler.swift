import Foundation
import Randomness

/// Picks the next token from logits.
public struct TokenSampler: Sendable {
    /// Divides the logits; 0: always the most likely token.
    public let temperature: Double
    /// Only so many of the most likely tokens can come; 0: all.
    public let topK: Int
    private let generator: CounterBasedGenerator

    public init(temperature: Double, topK: Int, seed: UInt64) {
        self.temperature = temperature
        self.topK = topK
        generator = CounterBasedGenerator(seed: seed, purpose: "generation")
    }

    /// - Parameters:
    ///   - logits: one for each token of the vocabulary, finite; at least one.
    ///   - index: of the token in the generated text; the choice depends on it and on the seed alone.
    public func sample(_ logits: [Float], index: Int) -> Int {
        // Ties go to the smaller token, so that the order is the same everywhere.
        let order = logits.indices.sorted { (logits[$0], $1) > (logits[$1], $0) }
        guard temperature > 0 else { return order[0] }
        let candidates = topK > 0 ? order.prefix(topK) : order[...]
        let largest = Double(logits[order[0]])
        let weights = candidates.map { exp((Double(logits[$0]) - largest) / temperature) }
        var remaining = generator.uniform(at: UInt64(index)) * weights.reduce(0, +)
        for (candidate, weight) in zip(candidates, weights) {
            remaining -= weight
            if remaining < 0 { return candidate }
        }
        return order[0]
    }
}
