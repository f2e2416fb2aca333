/// Loads of physical experts (slots of ranks, some with replicas) as loads of the model's experts.
struct PhysicalLoads {
    /// Expert of each slot, [layer][slot].
    private let experts: [[Int]]
    private let counts: [Int]

    /// - Parameter map: `physical_to_logical_map`; with one row for each layer.
    init(_ map: DumpedTensor, path: String) throws(TraceError) {
        guard map.shape.count == 2 else {
            throw TraceError(
                path, "physical_to_logical_map has the shape \(map.shape)", remedy: "it is [layer][physical expert]")
        }
        var experts = [[Int]]()
        for (layer, row) in map.matrix(0).enumerated() {
            // Otherwise a few slots could make a matrix of any size.
            if let expert = row.first(where: { $0 >= Double(row.count) }) {
                throw TraceError(
                    path,
                    "physical_to_logical_map has the expert \(expert) in layer \(layer), which has \(row.count) physical "
                        + "experts",
                    remedy: "each expert has at least one, so that the last is \(row.count - 1); dump the map again")
            }
            // A slot without an expert is -1.
            experts.append(row.map { $0 >= 0 ? Int($0) : -1 })
        }
        self.experts = experts
        counts = experts.map { ($0.max() ?? -1) + 1 }
    }

    /// - Throws: `TraceError` when `loads` is not of these layers and slots.
    func logical(_ loads: [[Double]], path: String, place: String) throws(TraceError) -> [[Double]] {
        guard loads.map(\.count) == experts.map(\.count) else {
            throw TraceError(
                path,
                "\(place) is of \(loads.count) layers of \(loads.first?.count ?? 0) physical experts, the map of "
                    + "\(experts.count) of \(experts.first?.count ?? 0)",
                remedy: "dump the map of the same moment")
        }
        // All layers of a model have as many experts.
        let count = counts.max() ?? 0
        return zip(loads, experts).map { loads, experts in
            var result = [Double](repeating: 0, count: count)
            for (load, expert) in zip(loads, experts) where expert >= 0 { result[expert] += load }
            return result
        }
    }
}

/// Adds passes up to intervals.
struct PassSums {
    let steps: Int
    private var sum: [[Double]]?
    private var count = 0

    init(steps: Int) { self.steps = max(1, steps) }

    /// - Returns: the interval, when it is whole.
    mutating func add(_ loads: [[Double]], path: String, place: String) throws(TraceError) -> [[Double]]? {
        if let before = sum {
            guard before.map(\.count) == loads.map(\.count) else {
                throw TraceError(path, "\(place) is of another shape than the pass before", remedy: "dump one model")
            }
            sum = zip(before, loads).map { zip($0, $1).map { $0 + $1 } }
        } else {
            sum = loads
        }
        count += 1
        guard count == steps else { return nil }
        defer {
            sum = nil
            count = 0
        }
        return sum
    }

    /// What is left at the end, and of how many passes.
    var rest: (loads: [[Double]], steps: Int)? { sum.map { ($0, count) } }
}
