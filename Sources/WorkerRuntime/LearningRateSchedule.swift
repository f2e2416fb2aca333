import Foundation

/// The learning rate of each step: linear warm-up, then constant, or a cosine down to a minimum at the last step
/// (Loshchilov and Hutter 2017, arXiv:1608.03983, without restarts; the formula is nanoGPT's `get_lr`).
public struct LearningRateSchedule: Sendable, Equatable {
    public enum Shape: String, Sendable, CaseIterable {
        case constant, cosine
    }

    public var shape: Shape
    public var learningRate: Double
    /// What the cosine ends at.
    public var minimum: Double
    public var warmupSteps: Int
    public var steps: Int

    public init(shape: Shape, learningRate: Double, minimum: Double, warmupSteps: Int, steps: Int) {
        self.shape = shape
        self.learningRate = learningRate
        self.minimum = minimum
        self.warmupSteps = warmupSteps
        self.steps = steps
    }

    /// The learning rate of `step`, from 0.
    public func rate(at step: Int) -> Double {
        if step < warmupSteps { return learningRate * Double(step + 1) / Double(warmupSteps + 1) }
        switch shape {
        case .constant: return learningRate
        case .cosine:
            guard step < steps, steps > warmupSteps else { return minimum }
            let progress = Double(step - warmupSteps) / Double(steps - warmupSteps)
            return minimum + 0.5 * (1 + cos(.pi * progress)) * (learningRate - minimum)
        }
    }
}
