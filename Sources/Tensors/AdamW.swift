import Foundation

/// Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101), as `torch.optim.AdamW` computes it.
public enum AdamW {
    public struct Configuration: Sendable, Equatable {
        public var learningRate: Double
        public var beta1: Double
        public var beta2: Double
        public var epsilon: Double
        public var weightDecay: Double

        public init(
            learningRate: Double, beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8,
            weightDecay: Double = 0
        ) {
            self.learningRate = learningRate
            self.beta1 = beta1
            self.beta2 = beta2
            self.epsilon = epsilon
            self.weightDecay = weightDecay
        }
    }

    /// One step, all in one pass over the memory. With g = gradient · `gradientScale`:
    /// value ← value·(1 − lr·decay), m ← m + (1 − β₁)(g − m), v ← β₂·v + (1 − β₂)·g²,
    /// value ← value − lr / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε).
    ///
    /// Moments below 2⁻¹²⁶, the least normal number, become 0, and m does where v does, so that it is not divided by ε alone. Without
    /// gradients they would shrink into the subnormal range and stay there, for 0.9 times the least numbers rounds to the same numbers,
    /// and arithmetic with them is slow on many processors.
    /// - Parameters:
    ///   - value: weights, updated; all tensors have its shape.
    ///   - gradient: not changed.
    ///   - firstMoment: m, updated.
    ///   - secondMoment: v, updated.
    ///   - step: t, from 1.
    ///   - gradientScale: a factor for the gradient, for example from clipping.
    public static func update(
        value: Tensor, gradient: Tensor, firstMoment: Tensor, secondMoment: Tensor, step: Int,
        configuration: Configuration, gradientScale: Float = 1
    ) {
        precondition(
            value.hasShape(of: gradient) && value.hasShape(of: firstMoment) && value.hasShape(of: secondMoment),
            "shapes differ")
        precondition(step >= 1, "steps count from 1")
        let factors = Factors(configuration, step: step, gradientScale: gradientScale)
        let (values, gradients) = (value.matrix, gradient.matrix)
        let (firstMoments, secondMoments) = (firstMoment.matrix, secondMoment.matrix)
        let contiguous = [value, gradient, firstMoment, secondMoment].allSatisfy(\.isContiguous)
        Threads.splitEntries(of: value, contiguous: contiguous) { row, column, count in
            let (w, g) = (values.row(row) + column, gradients.row(row) + column)
            let (m, v) = (firstMoments.row(row) + column, secondMoments.row(row) + column)
            var i = 0
            while i &+ 16 <= count {
                let (nextW, nextM, nextV) = factors.update(Lanes(w + i), Lanes(g + i), Lanes(m + i), Lanes(v + i))
                nextW.store(to: w + i)
                nextM.store(to: m + i)
                nextV.store(to: v + i)
                i &+= 16
            }
            let rest = count &- i
            if rest > 0 {
                let (nextW, nextM, nextV) = factors.update(
                    Lanes(w + i, first: rest), Lanes(g + i, first: rest), Lanes(m + i, first: rest),
                    Lanes(v + i, first: rest))
                nextW.store(to: w + i, first: rest)
                nextM.store(to: m + i, first: rest)
                nextV.store(to: v + i, first: rest)
            }
        }
    }

    /// What is the same for all entries of a step.
    private struct Factors {
        let keep: Float
        let gradientScale: Float
        let newFirst: Float
        let oldSecond: Float
        let newSecond: Float
        /// −lr / (1 − β₁ᵗ)
        let stepSize: Float
        /// 1 / √(1 − β₂ᵗ)
        let rootScale: Float
        let epsilon: Float

        init(_ configuration: Configuration, step: Int, gradientScale: Float) {
            let (beta1, beta2) = (configuration.beta1, configuration.beta2)
            keep = Float(1 - configuration.learningRate * configuration.weightDecay)
            self.gradientScale = gradientScale
            newFirst = Float(1 - beta1)
            oldSecond = Float(beta2)
            newSecond = Float(1 - beta2)
            stepSize = Float(-configuration.learningRate / (1 - pow(beta1, Double(step))))
            rootScale = Float(1 / (1 - pow(beta2, Double(step))).squareRoot())
            epsilon = Float(configuration.epsilon)
        }

        @inline(always)
        func update(_ w: Lanes, _ gradient: Lanes, _ m: Lanes, _ v: Lanes) -> (w: Lanes, m: Lanes, v: Lanes) {
            let g = gradient * gradientScale
            var nextM = multiplyAdd(g - m, Lanes(repeating: newFirst), m)
            var nextV = multiplyAdd(g * newSecond, g, v * oldSecond)
            let vanishes = isBelowNormal(nextV)
            nextV = nextV.replacing(with: 0, where: vanishes)
            nextM = nextM.replacing(with: 0, where: vanishes .| isBelowNormal(nextM))
            let denominator = multiplyAdd(
                nextV.squareRoots, Lanes(repeating: rootScale), Lanes(repeating: epsilon))
            return (multiplyAdd(nextM / denominator, Lanes(repeating: stepSize), w * keep), nextM, nextV)
        }

        /// Whether lanes are subnormal or 0.
        @inline(always)
        private func isBelowNormal(_ x: Lanes) -> SIMDMask<Lanes.MaskStorage> {
            let least = Float.leastNormalMagnitude
            return (x .< least) .& (x .> -least)
        }
    }
}
