import GradientChecks
import Layers
import Tensors
import Testing

/// Weights in memory, by name.
private final class WeightStore: WeightSource, WeightSink {
    var weights = [(name: String, shape: [Int], values: [Float])]()

    func store(_ name: String, shape: [Int], _ values: Tensor) { weights.append((name, shape, values.array)) }

    func load(_ name: String, shape: [Int], rows: Range<Int>, columns: Range<Int>, into destination: Tensor) throws {
        guard let weight = weights.first(where: { $0.name == name && $0.shape == shape }) else {
            throw ModuleError.missingWeight(name: name, shape: shape)
        }
        let whole = Tensor(weight.values, rows: shape.count == 2 ? shape[0] : 1, columns: shape[shape.count - 1])
        destination.copy(from: whole.rows(rows).columns(columns))
    }
}

@Suite struct ModuleTests {
    private static func make() -> ModuleList<SparseMoEBlock> {
        ModuleList(
            (0..<2).map { _ in
                SparseMoEBlock(
                    gate: Router(hiddenSize: 3, expertCount: 2, expertsPerToken: 1),
                    experts: LocalExperts(hiddenSize: 3, widths: [4, 5]))
            })
    }

    @Test func pathsJoinNames() {
        let module = Self.make()
        #expect(
            module.namedModules().map(\.path).prefix(8) == [
                "", "0", "0.gate", "0.experts", "0.experts.0", "0.experts.0.w1", "0.experts.0.w2", "0.experts.0.w3",
            ])
        #expect(module.namedModules(path: "root").map(\.path)[2] == "root.0.gate")
        #expect(join("", "a") == "a" && join("a", "b") == "a.b")
        let weights = module.namedWeights()
        #expect(
            weights.prefix(4).map(\.name) == [
                "0.gate.weight", "0.experts.0.w1.weight", "0.experts.0.w2.weight", "0.experts.0.w3.weight",
            ])
        #expect(weights.prefix(4).map(\.shape) == [[2, 3], [4, 3], [3, 4], [4, 3]])
        #expect(weights.count == 14)
        #expect(module.namedParameters().map(\.name) == weights.map(\.name))
    }

    @Test func weightsComeBackAsTheyWere() throws {
        let (module, copy, store) = (Self.make(), Self.make(), WeightStore())
        module.randomize(seed: 81, scale: 1)
        try module.storeWeights(to: store)
        #expect(store.weights.map(\.name) == module.namedWeights().map(\.name))
        try copy.loadWeights(from: store)
        for (original, copied) in zip(module.namedParameters(), copy.namedParameters()) {
            #expect(original.parameter.value.array == copied.parameter.value.array)
        }
    }

    @Test func missingWeightsAreNamed() throws {
        let (module, store) = (Self.make(), WeightStore())
        try module.storeWeights(to: store)
        store.weights.removeAll { $0.name == "1.experts.0.w2.weight" }
        let error = #expect(throws: ModuleError.self) { try module.loadWeights(from: store) }
        #expect(error.map { "\($0)" } == "there is no weight \"1.experts.0.w2.weight\" of the shape [3, 4]")
    }

    @Test func partsCannotBeReplacedUnlessTheParentSaysSo() {
        let module = Self.make()
        #expect(throws: ModuleError.self) { try module.replaceChild("0", with: module) }
    }

    @Test func parametersOfVectorsDoNotDecay() {
        #expect(!Parameter(shape: [4]).decays && Parameter(shape: [4, 1]).decays)
    }
}
