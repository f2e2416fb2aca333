import ExpertPlacement
import Foundation
import Randomness

/// Loads made by a seed: the same options give the same loads, interval by interval.
///
/// How likely tokens choose an expert follows Zipf's law in an order of the layer's own. On that, `drift` lets each expert
/// wander, and the pattern changes the order.
public struct SyntheticLoads: Sequence, IteratorProtocol, Sendable {
    public enum Pattern: String, Sendable, CaseIterable {
        /// The order stays; only drift changes loads.
        case zipf
        /// Every `period` intervals the order is another one.
        case shift
        /// Loads swing between two orders, there and back in `period` intervals.
        case periodic
    }

    public struct Options: Hashable, Sendable {
        public var pattern: Pattern
        public var seed: Int
        public var layers: Int
        public var experts: Int
        public var intervals: Int
        /// Steps of an interval, and tokens of a step.
        public var steps: Int
        public var tokens: Int
        /// Experts that a token goes to.
        public var topK: Int
        /// Of Zipf's law: the k-th expert is chosen k^-exponent times as often as the first.
        public var exponent: Double
        /// How much an expert's logarithmic popularity changes in an interval, as a standard deviation.
        public var drift: Double
        public var period: Int

        public init(
            pattern: Pattern, seed: Int = 1, layers: Int = 12, experts: Int = 64, intervals: Int = 100, steps: Int = 10,
            tokens: Int = 65_536, topK: Int = 2, exponent: Double = 0.8, drift: Double = 0.02, period: Int = 50
        ) {
            self.pattern = pattern
            self.seed = seed
            self.layers = layers
            self.experts = experts
            self.intervals = intervals
            self.steps = steps
            self.tokens = tokens
            self.topK = topK
            self.exponent = exponent
            self.drift = drift
            self.period = period
        }

        /// The first line of a trace of these loads.
        public func header(width: Int, hiddenSize: Int) -> TraceHeader {
            TraceHeader(
                source: pattern.rawValue,
                model: ExpertModel(
                    hiddenSize: hiddenSize,
                    layers: [[Int]](repeating: [Int](repeating: width, count: experts), count: layers)),
                topK: topK, seed: seed)
        }
    }

    private let options: Options
    private var interval = 0
    /// How far each expert has wandered, [layer][expert].
    private var drifts: [[Double]]

    /// How far experts wander in the long run, as a standard deviation of the logarithm: a factor of about two.
    private static let range = 0.7

    /// - Precondition: 1 ≤ topK ≤ experts; nothing is below 0, and the period is 1 at least.
    public init(_ options: Options) {
        precondition((1...options.experts).contains(options.topK) && options.period > 0, "\(options)")
        self.options = options
        drifts = [[Double]](
            repeating: [Double](repeating: 0, count: options.experts), count: options.layers)
    }

    public mutating func next() -> TraceInterval? {
        guard interval < options.intervals else { return nil }
        defer { interval += 1 }
        var loads = [[Int]]()
        for layer in 0..<options.layers {
            wander(layer)
            loads.append(draw(rows(layer), layer: layer))
        }
        return TraceInterval(
            firstStep: 1 + interval * options.steps, stepCount: options.steps, expertLoads: loads,
            tokens: options.tokens * options.steps)
    }

    private func generator(_ purpose: String, _ keys: Int...) -> CounterBasedGenerator {
        CounterBasedGenerator(
            seed: UInt64(bitPattern: Int64(options.seed)), purpose: "synthetic loads, " + purpose, keys: keys)
    }

    /// A step of an autoregression that stays within `range`.
    private mutating func wander(_ layer: Int) {
        guard options.drift > 0 else { return }
        let generator = generator("drift", layer, interval)
        let share = Swift.min(1, options.drift / Self.range)
        let keep = interval == 0 ? 0 : (1 - share * share).squareRoot()
        let add = Self.range * (interval == 0 ? 1 : share)
        for expert in drifts[layer].indices {
            drifts[layer][expert] = keep * drifts[layer][expert] + add * generator.normal(at: UInt64(expert))
        }
    }

    /// Logarithms of popularities in the layer's order number `order`.
    private func popularities(_ layer: Int, order number: Int) -> [Double] {
        let generator = generator("order", layer, number)
        let order = (0..<options.experts).sorted {
            (generator.bits(at: UInt64($0)), $0) < (generator.bits(at: UInt64($1)), $1)
        }
        var result = [Double](repeating: 0, count: options.experts)
        for (place, expert) in order.enumerated() { result[expert] = -options.exponent * log(Double(place + 1)) }
        return result
    }

    /// How many rows a token has for each expert in the mean, at most one; they add up to `topK`.
    private func rows(_ layer: Int) -> [Double] {
        var logarithms: [Double]
        switch options.pattern {
        case .zipf: logarithms = popularities(layer, order: 0)
        case .shift: logarithms = popularities(layer, order: interval / options.period)
        case .periodic:
            let turn = Double(interval % options.period) / Double(options.period)
            let weight = (1 - cos(2 * .pi * turn)) / 2
            logarithms = zip(popularities(layer, order: 0), popularities(layer, order: 1)).map {
                (1 - weight) * $0 + weight * $1
            }
        }
        return Self.capped(zip(logarithms, drifts[layer]).map { exp($0 + $1) }, sum: Double(options.topK))
    }

    /// Shares that are in proportion to `weights` but for those that would be above 1, and add up to `sum`.
    package static func capped(_ weights: [Double], sum: Double) -> [Double] {
        let order = weights.indices.sorted { (weights[$0], $1) > (weights[$1], $0) }
        var result = [Double](repeating: 1, count: weights.count)
        var (left, rest) = (sum, weights.reduce(0, +))
        var full = 0
        // The heaviest are full as long as they would get more than one.
        while full < order.count, rest > 0, weights[order[full]] * left >= rest, left >= 1 {
            left -= 1
            rest -= weights[order[full]]
            full += 1
        }
        for expert in order[full...] { result[expert] = rest > 0 ? Swift.min(1, weights[expert] * left / rest) : 0 }
        return result
    }

    /// Rows as independent tokens would have them, nearly: each expert's are normal around the mean, and what is too much or
    /// too little together goes to those with room.
    private func draw(_ rows: [Double], layer: Int) -> [Int] {
        let generator = generator("rows", layer, interval)
        let tokens = options.tokens * options.steps
        var counts = rows.enumerated().map { expert, share in
            let deviation = (Double(tokens) * share * (1 - share)).squareRoot()
            let count = (Double(tokens) * share + deviation * generator.normal(at: UInt64(expert))).rounded()
            return Swift.min(Swift.max(0, Int(count)), tokens)
        }
        var missing = tokens * options.topK - counts.reduce(0, +)
        // In parts of what each has or has room for, so that no expert stands out; twice, for what rounding leaves.
        for _ in 0..<2 where missing != 0 {
            let room = counts.map { missing > 0 ? tokens - $0 : $0 }
            let total = Double(room.reduce(0, +))
            let wanted = missing
            for expert in counts.indices where missing != 0 {
                let part = (Double(abs(wanted)) * Double(room[expert]) / total).rounded(.up)
                let change = Swift.min(Int(part), room[expert], abs(missing))
                counts[expert] += wanted > 0 ? change : -change
                missing += wanted > 0 ? -change : change
            }
        }
        return counts
    }
}
