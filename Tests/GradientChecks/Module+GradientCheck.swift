import Layers
import Tensors

extension Module {
    /// Sets all weights to normal numbers.
    public func randomize(seed: UInt64, scale: Double) {
        for (name, parameter) in namedParameters() {
            parameter.value.copy(
                from: .normal(parameter.rows, parameter.columns, seed: seed, "weight \(name)", scale: scale))
        }
    }

    /// All parameters and their gradients.
    public func subjects() -> [GradientCheck.Subject] {
        namedParameters().map { .init(name: $0.name, value: $0.parameter.value, gradient: $0.parameter.gradient) }
    }
}
