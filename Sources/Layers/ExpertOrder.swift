/// Routing rows sorted by expert, rows of one expert in the order of their tokens: what turns the experts' work into
/// products of contiguous matrices.
struct ExpertOrder {
    /// Routing row at each place, N entries.
    let rows: [Int32]
    /// Its token.
    let tokens: [Int32]
    /// Its weight.
    let weights: [Float]
    /// Places of each expert, E entries.
    let places: [Range<Int>]

    init(_ routing: Routing) {
        var next = [Int](repeating: 0, count: routing.expertCount)
        var places = [Range<Int>]()
        places.reserveCapacity(routing.expertCount)
        var end = 0
        for (expert, load) in routing.expertLoads.enumerated() {
            places.append(end..<end + load)
            next[expert] = end
            end += load
        }
        var rows = [Int32](repeating: 0, count: routing.count)
        var tokens = [Int32](repeating: 0, count: routing.count)
        var weights = [Float](repeating: 0, count: routing.count)
        for row in 0..<routing.count {
            let expert = Int(routing.experts[row])
            let place = next[expert]
            next[expert] = place + 1
            rows[place] = Int32(truncatingIfNeeded: row)
            tokens[place] = routing.tokens[row]
            weights[place] = routing.weights[row]
        }
        self.rows = rows
        self.tokens = tokens
        self.weights = weights
        self.places = places
    }
}
