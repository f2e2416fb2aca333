/// Memory of the rows that ranks compute in a step: what all layers keep for the backward pass, and what the layer at work
/// needs besides.
struct DispatchBuffers {
    /// Bytes that each layer keeps, [layer][rank], until its backward pass: of a row its input and its output, and two
    /// activations of each neuron it met.
    private var kept = [[Int]]()
    /// Bytes of each layer at work, [layer][rank]: of a row as it is exchanged, sent and received, and one activation.
    private var working = [[Int]]()
    private let model: ExpertModel
    private let worldSize: Int

    /// - Parameter loads: rows of each expert in a step; nil, or those of another model: no buffers.
    init(_ layers: [LayerPlacement], loads: [[Double]]?, model: ExpertModel, worldSize: Int) {
        self.model = model
        self.worldSize = worldSize
        guard let loads, loads.map(\.count) == model.layers.map(\.count) else { return }
        for (layer, loads) in zip(layers, loads) {
            let bytes = Self.bytes(layer, loads: loads, model: model, worldSize: worldSize)
            kept.append(bytes.kept)
            working.append(bytes.working)
        }
    }

    func bytes(of rank: Int) -> Int {
        kept.reduce(working.map { $0[rank] }.max() ?? 0) { $0.saturatingSum($1[rank]) }
    }

    /// Puts a layer under another placement.
    mutating func replace(_ layer: Int, by placement: LayerPlacement, loads: [[Double]]?) {
        guard let loads, !kept.isEmpty else { return }
        (kept[layer], working[layer]) = Self.bytes(
            placement, loads: loads[layer], model: model, worldSize: worldSize)
    }

    private static func bytes(
        _ layer: LayerPlacement, loads: [Double], model: ExpertModel, worldSize: Int
    ) -> (kept: [Int], working: [Int]) {
        var work = RankWork(worldSize: worldSize)
        work.add(layer, loads: loads)
        let value = Double(MemoryLayout<Float>.stride)
        func bytes(neurons: Double) -> [Int] {
            zip(work.rows, work.work).map { rows, work in
                Int(bytes: value * (2 * rows * Double(model.hiddenSize) + neurons * work))
            }
        }
        return (bytes(neurons: 2), bytes(neurons: 1))
    }
}
