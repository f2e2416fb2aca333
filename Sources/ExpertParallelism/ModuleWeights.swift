import Layers
import Tensors

/// The weights of a module that is in memory, as a source.
struct ModuleWeights: WeightSource {
    private let parameters: [String: Parameter]

    init(_ module: any Module) {
        parameters = Dictionary(
            module.namedParameters().map { ($0.name, $0.parameter) }, uniquingKeysWith: { first, _ in first })
    }

    func load(
        _ name: String, shape: [Int], rows: Range<Int>, columns: Range<Int>, into destination: Tensor
    ) throws {
        guard let parameter = parameters[name], parameter.shape == shape else {
            throw ModuleError.missingWeight(name: name, shape: shape)
        }
        destination.copy(from: parameter.value.rows(rows).columns(columns))
    }
}
