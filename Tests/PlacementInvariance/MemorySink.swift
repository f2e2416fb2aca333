import Layers
import Tensors

/// Keeps the tensors that it gets.
public final class MemorySink: WeightSink {
    public private(set) var tensors = [String: [Float]]()

    public init() {}

    public func store(_ name: String, shape: [Int], _ values: Tensor) {
        precondition(shape.reduce(1, *) == values.count && values.isContiguous, "\(name) is not whole")
        precondition(tensors[name] == nil, "\(name) came twice")
        tensors[name] = values.array
    }
}
